"""The curvature columns of a study: geometry, bounds, certificates and attained changes of each original image.

They cost more than all other measurements together, so a study has them only if its file asks.
Where a number does not exist (a certificate of a network with max-pooling) it is NaN, and the reason is
kept beside it.
"""

import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from attacks.change_search import Effort
from attacks.diagnosis import certify, search_changes
from attacks.geometry import LocalGeometry, local_geometry
from attacks.ladders import ladders
from attacks.manipulation import AttackResult
from attacks.networks import Network
from attacks.soft_logit import SoftLogit, soft_logit
from attacks.studies.table import Table
from curvature import BOUNDS, DegenerateLevelSetError

_NAN = float("nan")
# What each rung bounds in the ball; left out is branch_and_bound, which is for four inputs at most.
_RUNGS = {
    name: ("gradient_change",) if name == "anchored" else ("curvature", "hessian")
    for name in BOUNDS
    if name != "branch_and_bound"
}
_REMEMBERED = 1_000  # images: the same ones come again with every method, attack and defence

Row = dict[str, float]
Reasons = dict[str, str]  # by group of columns


@dataclass(frozen=True, kw_only=True)
class CurvatureColumns:
    """What the table ``[curvature]`` of a study asks for.

    Attributes:
        betas: Of the softplus of the networks whose geometry is measured.
        radii: Of the balls, in the network's input space; may be empty where no column needs one.
        columns: Keys of ``GROUPS``, and ``path``.
        steps: Of each search for an attained change.
        restarts: Random starts of each search, beside those along the leading directions.
        seed: Of the random starts.
    """

    betas: tuple[float, ...]
    radii: tuple[float, ...]
    columns: tuple[str, ...]
    steps: int
    restarts: int
    seed: int


@dataclass(frozen=True)
class _Point:
    """One image to measure; two are equal if their hash and settings are."""

    digest: str
    settings: CurvatureColumns
    network: Network = field(compare=False)
    x: Tensor = field(compare=False)
    target_class: int = field(compare=False)


Group = Callable[[SoftLogit, Tensor, LocalGeometry, CurvatureColumns], tuple[Row, str]]


def _geometry(soft: SoftLogit, x: Tensor, geometry: LocalGeometry, settings: CurvatureColumns) -> tuple[Row, str]:
    row = {
        "gradient_norm": geometry.gradient_norm,
        "lambda_max": abs(geometry.largest),
        "turn_rate": geometry.turn_rate,
        "hessian_norm": _NAN if geometry.hessian_norm is None else geometry.hessian_norm,
    }
    return row, "" if geometry.complete else f"{soft.size} numbers are too many for a dense Hessian and its norm"


def _rungs(soft: SoftLogit, x: Tensor, geometry: LocalGeometry, settings: CurvatureColumns) -> tuple[Row, str]:
    row, reasons = dict.fromkeys(_rung_names(settings), _NAN), list[str]()
    for radius, rungs in zip(settings.radii, ladders(soft, x, settings.radii), strict=True):
        for name, kinds in _RUNGS.items():
            for kind in kinds:
                value = getattr(rungs[name], kind)
                row[f"{name}_{kind}_bound_r{radius:g}"] = _NAN if value is None else value
        reasons += [f"{name} at radius {radius:g}: {bound.reason}" for name, bound in rungs.items() if bound.reason]
    return row, soft.reason or "; ".join(reasons[:1])


def _certificate(soft: SoftLogit, x: Tensor, geometry: LocalGeometry, settings: CurvatureColumns) -> tuple[Row, str]:
    row, reason = dict.fromkeys(_certificate_names(settings), _NAN), soft.reason
    for radius, certificate in zip(settings.radii, certify(soft, x, settings.radii), strict=True):
        if certificate is None or certificate.vacuous:
            reason = reason or ("" if certificate is None else f"at radius {radius:g}: {certificate.reason}")
            continue
        row[f"change_bound_r{radius:g}"] = certificate.change_bound
        row[f"map_change_bound_r{radius:g}"] = certificate.map_change_bound
        row[f"gradient_norm_bound_r{radius:g}"] = certificate.gradient_norm_bound
    return row, reason


def _attained(soft: SoftLogit, x: Tensor, geometry: LocalGeometry, settings: CurvatureColumns) -> tuple[Row, str]:
    effort = Effort(steps=settings.steps, restarts=settings.restarts, seed=settings.seed)
    row: Row = {}
    for radius in settings.radii:
        found = search_changes(soft, x, radius, geometry=geometry, effort=effort)
        row |= {
            f"change_attained_r{radius:g}": found.normal.value,
            f"change_attained_on_level_set_r{radius:g}": found.normal_on_level_set.value,
            f"map_change_attained_r{radius:g}": found.map.value,
            f"map_change_attained_on_level_set_r{radius:g}": found.map_on_level_set.value,
        }
    return row, ""


def _geometry_names(settings: CurvatureColumns) -> list[str]:
    return ["gradient_norm", "lambda_max", "turn_rate", "hessian_norm"]


def _rung_names(settings: CurvatureColumns) -> list[str]:
    return [f"{name}_{kind}_bound_r{r:g}" for r in settings.radii for name, kinds in _RUNGS.items() for kind in kinds]


def _certificate_names(settings: CurvatureColumns) -> list[str]:
    stems = ("change_bound", "map_change_bound", "gradient_norm_bound")
    return [f"{stem}_r{r:g}" for r in settings.radii for stem in stems]


def _attained_names(settings: CurvatureColumns) -> list[str]:
    stems = [f"{what}_attained{where}" for what in ("change", "map_change") for where in ("", "_on_level_set")]
    return [f"{stem}_r{r:g}" for r in settings.radii for stem in stems]


Groups = dict[str, tuple[Group, Callable[[CurvatureColumns], list[str]]]]
GROUPS: Groups = {
    "geometry": (_geometry, _geometry_names),
    "rungs": (_rungs, _rung_names),
    "certificate": (_certificate, _certificate_names),
    "attained": (_attained, _attained_names),
}
PATH = "path"
_NEED_RADII = ("rungs", "certificate", "attained")


def read_curvature(top: Table) -> CurvatureColumns | None:
    """The table ``[curvature]`` of a study, or None.

    Raises:
        ValueError: If a key is not as expected; names it.
    """
    top.knows("curvature")
    if "curvature" not in top:
        return None
    table = top.table("curvature")
    columns = table.many("columns", str, ("geometry",), known=(*GROUPS, PATH))
    radii = table.many("radii", float, ())
    needy = [name for name in columns if name in _NEED_RADII]
    if needy and not radii:
        raise table.error("radii", f"a list of radii, as the columns {', '.join(needy)} need", "nothing; add it")
    if radii and not needy:
        raise table.error(
            "radii", f"columns among {', '.join(_NEED_RADII)} that use them", f"only {', '.join(columns)}"
        )
    if any(not radius > 0 for radius in radii):
        raise table.error("radii", "radii > 0", min(radii))
    betas = table.many("betas", float, (1.0,))
    if any(not beta > 0 for beta in betas):
        raise table.error("betas", "softplus betas > 0", min(betas))
    settings = CurvatureColumns(
        betas=tuple(sorted(betas)),
        radii=tuple(sorted(radii)),
        columns=columns,
        steps=table.take("steps", int, 40, low=1),
        restarts=table.take("restarts", int, 6, low=0),
        seed=table.take("seed", int, 0, low=0),
    )
    table.finish()
    return settings


def curvature_columns(
    network: Network, result: AttackResult, settings: CurvatureColumns, *, fingerprint: str
) -> tuple[dict[str, Tensor], Reasons]:
    """The columns of a batch, one number an image, and by group and beta why numbers are missing.

    Args:
        network: Not softened.
        result: Of the attack; all but ``path`` is measured at its original images.
        settings: What to measure.
        fingerprint: Of the network; an image that comes again is not measured again.
    """
    rows: list[Row] = []
    reasons: Reasons = {}
    for x, target_class in zip(result.original, result.target_class.tolist(), strict=True):
        words = f"{fingerprint} {target_class} {x.dtype} {tuple(x.shape)}".encode()
        digest = hashlib.sha256(words + x.detach().cpu().numpy().tobytes()).hexdigest()
        row, missing = _measured(_Point(digest, settings, network, x, target_class))
        rows.append(row)
        reasons = missing | reasons  # the first image's reason stays
    columns = {name: torch.tensor([row[name] for row in rows], dtype=torch.float64) for name in rows[0]}
    if PATH in settings.columns:
        columns["path_budget_used"], missing_path = _budget_used(result)
        reasons |= missing_path
    return columns, reasons


@functools.lru_cache(maxsize=_REMEMBERED)
def _measured(point: _Point) -> tuple[Row, Reasons]:
    settings = point.settings
    groups = {name: GROUPS[name] for name in settings.columns if name in GROUPS}
    if not groups:
        return {}, {}
    row: Row = {}
    reasons: Reasons = {}
    for beta in settings.betas:
        found, missing = _at_beta(point, beta, groups)
        row |= {_column(name, beta): value for name, value in found.items()}
        reasons |= {f"{group} at beta {beta:g}": reason for group, reason in missing.items()}
    return row, reasons


def _column(name: str, beta: float) -> str:
    return f"{name}_beta{beta:g}"


def _at_beta(point: _Point, beta: float, groups: Groups) -> tuple[Row, Reasons]:
    settings = point.settings
    row: Row = {}
    reasons: Reasons = {}
    try:
        soft = soft_logit(point.network, point.x, point.target_class, beta=beta)
        x = point.x.flatten().to(soft.dtype)
        geometry = local_geometry(soft, x)
    except (DegenerateLevelSetError, ValueError) as error:  # an image or a network of which nothing can be said
        names = [name for _, names_of in groups.values() for name in names_of(settings)]
        return dict.fromkeys(names, _NAN), dict.fromkeys(groups, str(error))
    for name, (measure, _) in groups.items():
        found, reason = measure(soft, x, geometry, settings)
        row |= found
        if reason:
            reasons[name] = reason
    return row, reasons


def _budget_used(result: AttackResult) -> tuple[Tensor, Reasons]:
    """The normal's turn over the curvature budget of the path (an estimate), where the attack keeps a path."""
    if "path" not in result.metrics:
        empty = torch.full((len(result.original),), _NAN, dtype=torch.float64)
        return empty, {PATH: f"the attack {result.attack} keeps no path on the level set"}
    path = result.metrics["path"]
    return path["normal_turn"] / path["curvature_budget_estimate"], {}
