"""What pyproject.toml cannot say: which packages a wheel carries.

A wheel has ``seg`` alone, with prediction and the client. Folders called ``data``, ``service`` and
``training`` at the top of site-packages would meet other people's; they are used in a clone, where
``pip install --editable`` finds them.
"""

from setuptools import setup
from setuptools.command.build_py import build_py


class LibraryAlone(build_py):
    """Leaves out what is not below ``seg``, unless the install is editable."""

    def finalize_options(self) -> None:
        """Take the packages of pyproject.toml, and of those what a wheel carries."""
        super().finalize_options()
        if not self.editable_mode:
            self.packages = [name for name in self.packages if name.split(".")[0] == "seg"]


setup(cmdclass={"build_py": LibraryAlone})
