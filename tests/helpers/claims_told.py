"""Reads from a page what it says of claims: in the sections, in the table of all, in the pills and in the lead."""

from __future__ import annotations

import re
from collections import Counter
from html import unescape

from probe.evidence import Claim

VERDICT = re.compile(r'<span class="verdict[^>]*>.*?<bdi>([^<]*)</bdi>')
#: What a cell without a number holds.
NONE = "\N{EN DASH}"
NAMES = "established|refuted|not specific|undecided"


def words(html: str) -> str:
    """Return the text of a piece of a page."""
    return " ".join(unescape(re.sub(r"<[^>]*>", "", html)).split())


def points(page: str) -> list[str]:
    """Return all points of a page's lists that have a verdict, or the number of networks, as words."""
    lists = re.findall(r'<ul class="points">(.*?)</ul>', page, re.DOTALL)
    every = [words(point) for one in lists for point in one.split("</li>")]
    return [point for point in every if re.search(f"{NAMES}|, median ", point)]


def listed(page: str, section: str) -> list[str]:
    """Return all points of a section's list, as words."""
    own = page.partition(f'<section id="{section}">')[2].partition("</section>")[0]
    return [words(point) for one in re.findall(r"<ul.*?</ul>", own, re.DOTALL) for point in one.split("</li>")[:-1]]


def rows(page: str, key: str = "claims") -> list[dict[str, str]]:
    """Return the rows of the table of all claims, or of another section, each cell by the name of its column."""
    section = page.partition(f'<section id="{key}">')[2].partition("</table>")[0]
    head, _, body = section.partition("<tbody>")
    names = [words(cell).split("↑")[0].strip() for cell in re.findall(r"<th.*?</th>", head, re.DOTALL)]
    cells = [re.split("</t[hd]>", row)[:-1] for row in body.split("</tr>")[:-1]]
    return [dict(zip(names, map(words, row), strict=True)) for row in cells]


def families(page: str) -> list[set[str]]:
    """Return claims that the table of those that go together joins, with .8 or more in one of its columns."""
    found: list[set[str]] = []
    for row in rows(page, "together"):
        one, other, *sizes = (cell.replace("\N{MINUS SIGN}", "-") for cell in row.values())
        sizes.append("0")
        if max(abs(float(size)) for size in sizes if size != NONE) >= 0.8:
            near = [own for own in found if own & {one, other}]
            found = [own for own in found if own not in near] + [{one, other}.union(*near)]
    return found


def pills(page: str) -> Counter[str]:
    """Return how many claims the pills count of each verdict."""
    every = page.partition('<ul class="pills"')[2].partition("</ul>")[0].split("</li>")[1:-1]
    return Counter({VERDICT.findall(pill)[0]: int(words(pill).split()[0]) for pill in every})


def tally(page: str) -> Counter[str]:
    """Return how many claims the sentence counts of each verdict that says how many have a rule."""
    text = words(page.partition(" with a rule:")[2].partition("</p>")[0])
    return Counter({verdict: int(number) for number, verdict in re.findall(rf"(\d+) \W*({NAMES})", text)})


def check_told(told: list[str], claims: list[Claim]) -> None:
    """Fail where sections do not give each claim once, with the number and the verdict that were found."""
    texts = {f"{claim.rule.on_page}: " for claim in claims}
    for text in texts:
        ((before, rest),) = ((before, rest) for before, found, rest in (one.partition(text) for one in told) if found)
        for claim in (one for one in claims if f"{one.rule.on_page}: " == text):
            few = claim.n < claim.rule.needs
            share = few and claim.rule.statistic == "share"
            number = f"in {claim.holds_in} of {claim.n}" if share else f"{claim.value:.3g} ("
            if not few:
                # Of one kind of networks the verdict stands before the sentence, of several before each number.
                assert before.endswith(f"{claim.verdict} ") or f"{claim.verdict} {number}" in rest
            rest = rest[rest.index(number) :]
    assert len(told) == len(texts)


def check_table(page: str, claims: list[Claim]) -> None:
    """Fail where the table of all claims has other numbers or verdicts than were found."""
    said = Counter()
    for row in rows(page):
        number = float(row["trained"].replace("\N{MINUS SIGN}", "-"))
        said[row["claim"], f"{number:.3g}", re.sub(r"^\W+", "", row.get("verdict", ""))] += 1
    assert said == Counter(
        (one.rule.key, f"{one.value:.3g}", one.verdict if one.n >= one.rule.needs else "") for one in claims
    )
