"""Packages for the programs that read models of the BioImage Model Zoo."""
