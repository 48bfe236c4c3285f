"""NRRD and MetaImage, each format's reader beside its writer."""
