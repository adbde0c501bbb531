"""The built wheel in a bare environment: what it carries, what the core needs, and that its commands start."""

import importlib.metadata
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SMALL_CERTIFICATE = """
import sys
import torch
from curvature import certify_explanation, digits_network, soften
soft = soften(digits_network().double(), beta=1.0)
x = torch.full((1, 8, 8), 0.5, dtype=torch.float64)
cert = certify_explanation(soft, x, target_class=3, radius=1e-3)
assert 0 < cert.change_attained <= cert.change_bound < 1, cert
extras = {"torchvision", "matplotlib", "sympy", "flint", "sklearn", "skimage", "jinja2", "tyro", "pandas", "dask"}
assert not extras & set(sys.modules), extras & set(sys.modules)
print("certified")
"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("wheel")
    source = out / "source"  # a copy, so that no build folder is left in the checkout
    skipped = shutil.ignore_patterns(".*", "out", "build", "dist", "*.egg-info", "__pycache__", "tests")
    shutil.copytree(ROOT, source, ignore=skipped)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(source)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(out.glob("*.whl"))


def closure(names):
    """Distributions that these need, all the way down, without extras."""
    found: dict[str, importlib.metadata.Distribution] = {}
    todo = list(names)
    while todo:
        name = re.sub(r"[-_.]+", "-", todo.pop()).lower()
        if name in found:
            continue
        try:
            found[name] = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # for another platform
        todo += [re.split(r"[ ;<>=!~\[(]", need)[0] for need in found[name].requires or () if "extra ==" not in need]
    return found.values()


def bare_environment(folder, wheel, names):
    """A virtual environment of its own that holds the wheel and links to these distributions, and nothing else."""
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    command = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site = Path(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip())
    for distribution in closure(names):
        for top in {file.parts[0] for file in distribution.files or () if file.parts[0] not in ("..", "__pycache__")}:
            if not (site / top).exists():
                (site / top).symlink_to(distribution.locate_file(top))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return python


def run(python, *arguments):
    return subprocess.run(
        [str(python), "-W", "ignore", *arguments],
        capture_output=True,
        text=True,
        cwd=python.parent,
        env={"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"},
    )


def requirements(extra=None):
    """What the installed project's metadata asks for, of the core or of one extra."""
    for need in importlib.metadata.requires("curvature-bounds") or ():
        name, _, condition = need.partition(";")
        wanted = f'extra == "{extra}"' in condition.replace("'", '"') if extra else "extra ==" not in condition
        if wanted:
            yield re.split(r"[ <>=!~\[(]", name.strip())[0]


def test_the_wheel_carries_three_packages_with_their_data(wheel):
    """Oracle: the files that git tracks beside the modules."""
    names = set(zipfile.ZipFile(wheel).namelist())
    packages = ("curvature", "attacks", "proofs_check")
    expected = {str(p.relative_to(ROOT)) for top in packages for p in (ROOT / top).rglob("*") if p.is_file()}
    expected = {name for name in expected if "__pycache__" not in name}
    assert expected <= names, sorted(expected - names)
    assert {f"{top}/py.typed" for top in packages} <= names
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == set(packages)


def test_the_core_certifies_in_an_environment_without_any_extra(wheel, tmp_path):
    """Oracle: an environment that holds what the core depends on; the certificate against its own search."""
    python = bare_environment(tmp_path / "venv", wheel, requirements())
    done = run(python, "-c", SMALL_CERTIFICATE)
    assert done.stdout.strip() == "certified", done.stderr
    missing = run(python, "-c", "import tyro")
    assert "ModuleNotFoundError" in missing.stderr  # the environment is as bare as it says


def test_the_main_job_starts_with_the_extra_attacks(wheel, tmp_path):
    """Oracle: the help, and a short attack on the network that the wheel carries."""
    python = bare_environment(tmp_path / "venv", wheel, [*requirements(), *requirements("attacks")])
    done = run(python, "-m", "attacks", "run", "--help")
    assert done.returncode == 0, done.stderr
    assert "--curvature-beta" in done.stdout
    words = ["--network", "digits", "--image", "digits/5", "--target", "digits/3", "--iterations", "2"]
    done = run(python, "-m", "attacks", "run", *words, "--out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "report.html").is_file()
