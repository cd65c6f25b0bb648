"""Prune the neurons of a concept, retrain, and watch the concept come back, beside twins.

`study.plasticity` is all of it. Only that module and `retraining` import what trains: a report is
read, printed and drawn without.
"""
