"""A slip of the pen, and a licence in people's own words, are answered with what was probably meant."""

import pytest

from audiotune.governance.agreement import Agreement
from audiotune.governance.suggestions import suggest_licence, suggest_member

AGREEMENT = Agreement.model_validate(
    {
        "group": "The Testers",
        "version": 1,
        "recordings_licence": "LicenseRef-members-only",
        "accepted_licences": ["CC-BY-4.0", "CC0-1.0"],
        "weights_licence": "LicenseRef-co-owned",
        "members": [
            {"id": "ana", "name": "Ana López"},
            {"id": "ben", "name": "Benjamin Roth"},
            {"id": "dee", "name": "Dee", "left": True},
        ],
    }
)


@pytest.mark.parametrize(
    ("text", "id"),
    [
        ("Ana", "ana"),
        ("ANA", "ana"),
        ("Ana López", "ana"),
        ("López", "ana"),
        ("anna", "ana"),
        ("Benjamin", "ben"),
        ("mallory", ""),
        ("Dee", ""),
    ],
)
def test_members(text: str, id: str) -> None:
    assert suggest_member(AGREEMENT, text) == id


@pytest.mark.parametrize(
    ("text", "licence"),
    [
        ("CC BY 4.0", "CC-BY-4.0"),
        ("cc-by", "CC-BY-4.0"),
        ("https://creativecommons.org/licenses/by/4.0/", "CC-BY-4.0"),
        ("http://creativecommons.org/licenses/by/4.0/legalcode", "CC-BY-4.0"),
        ("https://creativecommons.org/licenses/by/4.0/deed.de", "CC-BY-4.0"),
        ("Creative Commons Attribution 4.0 International", "CC-BY-4.0"),
        ("Creative Commons 0", "CC0-1.0"),
        ("CC0", "CC0-1.0"),
        ("CC Zero", "CC0-1.0"),
        ("CC0 1.0 Universal", "CC0-1.0"),
        ("https://creativecommons.org/publicdomain/zero/1.0/", "CC0-1.0"),
        ("LicenseRef-member-only", "LicenseRef-members-only"),
        ("CC BY 4.0 Deed", "CC-BY-4.0"),
        ("Creative Commons — Attribution 4.0 International — CC BY 4.0", "CC-BY-4.0"),
        ("CC\u2011BY\u20114.0", "CC-BY-4.0"),
        ("https://spdx.org/licenses/CC-BY-4.0.html", "CC-BY-4.0"),
        ("Namensnennung 4.0 International", "CC-BY-4.0"),
        ("Namensnennung - Nicht kommerziell 4.0", ""),
        ("CC BY-NC 4.0", ""),
        ("CC-BY-SA-4.0", ""),
        ("CC BY 3.0", ""),
        ("https://creativecommons.org/licenses/by-nc-nd/4.0/", ""),
        ("all rights reserved", ""),
    ],
)
def test_licences(text: str, licence: str) -> None:
    assert suggest_licence(AGREEMENT, text) == licence
