"""DICOMweb: jobs on series of an archive, and series that an archive sends by itself."""
