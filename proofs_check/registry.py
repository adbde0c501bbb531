"""All claims, in the order of the proofs."""

from proofs_check import theorem1_claims, theorem1_form, theorem1_hessian, theorem2_gaps, theorem2_gate
from proofs_check.claim import Claim

_MODULES = (theorem1_hessian, theorem1_form, theorem1_claims, theorem2_gate, theorem2_gaps)
CLAIMS: dict[str, Claim] = {claim.id: claim for module in _MODULES for claim in module.CLAIMS}
