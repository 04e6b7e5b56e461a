"""Checks the built site: ``python tests/check_site.py out/site``.

Every link and picture within it leads somewhere, anchors too; nothing is loaded from elsewhere; every page can be reached from
the first one and has a title; no formula is left as TeX; every public name has a page, and the search knows what people seek.
"""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "docs"))

SOUGHT = ("draw", "thin", "kde", "nest", "veloc", "adapt", "effect", "fokker", "parquet")
"""Stems of words that the search must find."""


class Page(HTMLParser):
    """What a page refers to, and what can be referred to in it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.loads: set[str] = set()
        self.anchors: set[str] = set()
        self.has_title = False
        text = path.read_text()
        self.raw_formula = "latex2mathml" in text or bool(re.search(r'class="math[^"]*">\s*\\[(\[]', text))
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.add(given["href"])
        elif tag in ("img", "script", "source", "iframe") and "src" in given:
            self.loads.add(given["src"])
        elif tag == "link" and given.get("rel") in ("stylesheet", "icon", "preload"):
            self.loads.add(given.get("href", ""))
        elif tag == "h1":
            self.has_title = True


def problems(site: Path) -> list[str]:
    """One line for each thing that is wrong."""
    pages = {path: Page(path) for path in site.rglob("*.html")}
    graph: dict[Path, set[Path]] = {}
    wrong = []
    for path, page in pages.items():
        name = path.relative_to(site)
        graph[path] = set()
        wrong += [f"{name} loads {url} from elsewhere" for url in page.loads if urlsplit(url).netloc]
        wrong += [f"{name} has a formula that was not drawn"] * page.raw_formula
        wrong += [f"{name} has no title"] * (not page.has_title and path.stem not in ("search", "404"))
        for url in page.links | page.loads:
            parts = urlsplit(url)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.is_file():
                wrong.append(f"{name} leads to {url}, which is not there")
            elif target in pages:
                graph[path].add(target)
                if parts.fragment and unquote(parts.fragment) not in pages[target].anchors:
                    wrong.append(f"{name} leads to {url}, and that page has no such anchor")
    reached, new = set(), {site / "index.html"}
    while new:
        reached |= new
        new = {target for path in new for target in graph.get(path, ())} - reached
    wrong += [
        f"{path.relative_to(site)} cannot be reached from the first page"
        for path in pages.keys() - reached
        if path.stem not in ("genindex", "search")
    ]
    return sorted(wrong + missing(site))


def missing(site: Path) -> list[str]:
    """Public names without a page, and words that the search does not know."""
    from generate import MODULES, import_public

    documented = {path.stem for path in site.glob("reference/python/api/*.html")}
    pages = {name.rsplit(".", 1)[1] for name in documented}
    wrong = [f"{name} of {module} has no page" for module in MODULES for name in import_public(module) if name not in pages]
    index = (site / "searchindex.js").read_text().lower()
    return wrong + [
        f"the search does not know {word}" for word in SOUGHT if f'"{word[:5]}' not in index and word[:5] not in index
    ]


def main() -> int:
    site = Path(sys.argv[1]).resolve()
    wrong = problems(site)
    print("\n".join(wrong) or f"{sum(1 for _ in site.rglob('*.html'))} pages: all links lead somewhere", file=sys.stderr)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
