"""Sweeps over pairs of images, methods, networks, attacks and defences, as Dask tasks."""

from attacks.studies.plan import Plan, plan
from attacks.studies.study import Study, load_study, study_names

__all__ = ["Plan", "Study", "load_study", "plan", "study_names"]
