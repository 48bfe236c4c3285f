"""Search without a server: what it needs lies beside the pages and is fetched from nobody.

Pages opened from a folder may start no worker; the theme's plugin ``offline`` then asks a CDN for a
shim. It is kept in docs/iframe-worker (iframe-worker 1.0.4 from npm, MIT).
"""

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.pages import Page
from mkdocs.utils import get_relative_url

ASKED = "https://unpkg.com/iframe-worker/shim"
OURS = "iframe-worker/shim.js"


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Let a page take our copy."""
    return output.replace(ASKED, get_relative_url(OURS, page.url))


def on_post_template(output_content: str, template_name: str, config: MkDocsConfig) -> str:
    """Let pages that are no documents, as that of a wrong address, take it as well."""
    return output_content.replace(ASKED, OURS)
