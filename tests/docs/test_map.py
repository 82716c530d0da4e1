"""Every page can be found: from the README, from the menu, and decisions by their number."""

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
PAGES = {page.name for page in (ROOT / "docs").glob("*.md")}
DECISIONS = sorted(page.name for page in (ROOT / "docs/adr").glob("0*.md"))


def test_the_readme_maps_every_page():
    linked = set(re.findall(r"\]\(docs/([\w-]+\.md)\)", (ROOT / "README.md").read_text()))
    assert linked == PAGES


def test_the_first_page_leads_to_every_other():
    linked = set(re.findall(r"\]\(([\w-]+\.md)\)", (ROOT / "docs/index.md").read_text()))
    assert linked == PAGES - {"index.md"}


def test_the_menu_has_every_page():
    menu = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    assert {page for entry in menu for page in entry.values() if "/" not in page} == PAGES


def test_decisions_are_numbered_through_and_listed():
    assert [int(name[:4]) for name in DECISIONS] == list(range(1, len(DECISIONS) + 1))
    listed = re.findall(r"^\| \[(\d+)\]\((.*?)\)", (ROOT / "docs/adr/index.md").read_text(), re.MULTILINE)
    assert [(int(number), name) for number, name in listed] == list(enumerate(DECISIONS, 1))
    for name in DECISIONS:
        assert (ROOT / "docs/adr" / name).read_text().startswith(f"# {int(name[:4])}. ")
