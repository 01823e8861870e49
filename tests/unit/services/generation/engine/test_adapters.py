"""LoRA adapters in a request: which are allowed, how others are refused, and the metadata of the sound."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from audiotune.domain.generation import GenerationRecord, GenerationRequest
from services.generation.engine.adapters import AdapterResolver
from services.generation.errors import AdapterLookupError, UnfitAdapterError
from services.generation.settings import GenerationSettings
from tests.fakes.fake_models import FakeModels, a_loaded, an_adapter
from tests.fakes.in_process_service import ASK, InProcessService, until
from tests.fakes.sound_tags import read_tags

GRIT, DUST = an_adapter("grit"), an_adapter("dust", who="cleo")


@pytest.fixture
def models() -> FakeModels:
    made = FakeModels()
    made.adapters = [GRIT, DUST]
    return made


@pytest.fixture
def bench(tmp_path: Path, models: FakeModels) -> Iterator[InProcessService]:
    made = InProcessService(tmp_path, models)
    made.loaded()
    yield made
    made.stop()


def some(*named: Any) -> list[dict[str, Any]]:
    return [{"release": one} if isinstance(one, str) else {"release": one[0], "strength": one[1]} for one in named]


def refused(answer: Any, status: int, code: str, field: str) -> str:
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json()
    assert told["code"] == code
    assert field in [fault["field"] for fault in told["errors"]]
    return str(told["detail"])


def test_a_sound_names_its_adapters_everywhere(bench: InProcessService) -> None:
    answer = bench.post(adapters=some(("grit", 0.7), "dust:1"))
    assert answer.status_code == 200
    header = answer.headers["x-audio-tune-adapters"]
    for release, strength in ((GRIT, "0.7"), (DUST, "1")):
        named = f"{release.name}:1={strength};digest={release.weights.adapter_digest}"
        assert named in header
        assert named in read_tags(answer.content)["comment"]
    assert "by bo" in answer.headers["x-audio-tune-notice"]
    assert "by cleo" in answer.headers["x-audio-tune-notice"]
    record = GenerationRecord.model_validate_json(
        bench.store.get(f"manifests/generations/{answer.headers['x-audio-tune-sound']}.json")
    )
    assert {(one.release, one.strength) for one in record.adapters} == {("grit", 0.7), ("dust", 1.0)}


def test_adapters_are_heard_and_their_order_is_not(bench: InProcessService) -> None:
    plain = bench.post().content
    one, other = (bench.post(adapters=some(*named)).content for named in ([("grit", 0.7), "dust"], ["dust", ("grit", 0.7)]))
    assert one == other != plain
    assert bench.post(adapters=some(("grit", 0.6), "dust")).content != one
    assert "adapters=" not in read_tags(plain)["comment"]


def test_only_equal_adapters_share_a_batch(bench: InProcessService) -> None:
    bench.tones.gate.clear()
    holder = bench.engine.submit(bench.loaded(), asked(bench, 99))
    until(lambda: bench.tones.batches)
    with_grit = [asked(bench, seed, ("grit", 0.5)) for seed in (1, 2)]
    others = [asked(bench, 3), asked(bench, 4, ("grit", 0.6)), asked(bench, 5, "dust")]
    works = [holder, *(bench.engine.submit(bench.loaded(), one, f"m{n}") for n, one in enumerate([*with_grit, *others]))]
    bench.tones.gate.set()
    for work in works:
        work.result.result(20)
    assert sorted(map(sorted, bench.tones.batches[1:])) == [[1, 2], [3], [4], [5]]


def asked(bench: InProcessService, seed: int, *named: Any) -> list[Any]:
    from services.generation.engine.request_planning import plan_request

    request = GenerationRequest.model_validate({**ASK, "seed": seed, "adapters": some(*named)})
    return plan_request(bench.settings, bench.adapters, bench.loaded(), request, bench.store, "ana").asked


@pytest.mark.parametrize(
    ("adapters", "field"),
    [
        (some(*(f"a{n}" for n in range(50))), "adapters"), (some("grit", "grit"), "adapters"), ("grit", "adapters"),
        ({"release": "grit"}, "adapters"), (some(("grit", 2.1)), "adapters.0.strength"), (some(("grit", -1)), "adapters.0.strength"),
        (some("dust", ("grit", "much")), "adapters.1.strength"), ([{}], "adapters.0.release"), (some(""), "adapters.0.release"),
        (some("../../etc"), "adapters.0.release"), (some("grit:1:2"), "adapters.0.release"), (some("x" * 500), "adapters.0.release"),
        (some("http://a/b"), "adapters.0.release"), ([{"release": "grit", "path": "/etc"}], "adapters.0.path"), ([None], "adapters.0"),
    ],
)  # fmt: skip
def test_what_is_no_list_of_adapters_is_refused(bench: InProcessService, adapters: Any, field: str) -> None:
    refused(bench.post(adapters=adapters), 422, "invalid-request", field)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_strength_is_a_number(bench: InProcessService, number: str) -> None:
    body = json.dumps(ASK)[:-1] + f', "adapters": [{{"release": "grit", "strength": {number}}}]}}'
    answer = bench.client.post("/v1/generations", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    assert bench.post(adapters=some("grit")).status_code == 200


@pytest.mark.parametrize("named", ["rust", "grit@nightly", "grit:2", "grit:x", "grit:99999999999999999999", "grit:01", "grit:1٣"])
def test_an_unknown_adapter_is_named_with_those_that_are_known(bench: InProcessService, named: str) -> None:
    words = refused(bench.post(adapters=some("dust", named)), 404, "no-such-adapter", "adapters.1.release")
    assert "dust, grit" in words or "grit, dust" in words


def test_what_does_not_fit_the_release_is_refused(bench: InProcessService, models: FakeModels) -> None:
    models.adapters += [an_adapter("foreign", base="c" * 64), an_adapter("odd"), an_adapter("copies", passed=False)]
    models.adapters += [an_adapter("whole").model_copy(update={"weights": GRIT.weights.model_copy(update={"adapter": ""})})]
    models.unfit.add(an_adapter("odd").weights.adapter_digest)
    for named, word in (("foreign", "tuned from"), ("odd", "layer|model.x"), ("copies:1", ""), ("whole", "no adapter")):
        answer = bench.post(adapters=some(named))
        if named == "copies:1":  # the followed alias points to it: an owner has put it there
            assert answer.status_code == 200
            continue
        words = refused(answer, 422, "adapter-does-not-fit", "adapters.0.release")
        assert any(part in words for part in word.split("|"))
    models.adapters.append(an_adapter("copies", "2"))
    until(lambda: bench.post(adapters=some("copies:1")).status_code == 422)  # the alias is asked anew every poll_s
    assert "it copies" in refused(bench.post(adapters=some("copies:1")), 422, "adapter-does-not-fit", "adapters.0.release")
    both = some("grit", "grit:1")
    refused(bench.post(adapters=both), 422, "invalid-request", "adapters.1.release")


def test_everybody_in_an_adapter_is_asked_and_a_withdrawal_ends_it(bench: InProcessService, models: FakeModels) -> None:
    assert bench.post(adapters=some("grit")).status_code == 200
    models.refused.add("bo")

    def now() -> bool:
        return bool(bench.post(adapters=some("grit")).status_code == 403)

    until(now)
    assert "bo" in refused(bench.post(adapters=some("grit")), 403, "consent", "adapters.0.release")
    assert bench.post(adapters=some("dust")).status_code == 200
    assert bench.post().status_code == 200


def test_registry_and_store_away_what_is_known_goes_on(models: FakeModels) -> None:
    clockwork = GenerationSettings(poll_s=1e-6, consent_s=1e-6, grace_s=100)
    known, loaded = AdapterResolver(clockwork, models), a_loaded()
    wish = GenerationRequest.model_validate({**ASK, "adapters": some("grit")}).adapters
    first = known.resolve(loaded, wish)
    models.away = models.store_away = True
    assert known.resolve(loaded, wish) == first
    with pytest.raises(AdapterLookupError):
        AdapterResolver(clockwork, models).resolve(loaded, wish)
    models.away = models.store_away = False
    strict = AdapterResolver(GenerationSettings(poll_s=100, consent_s=1e-6, grace_s=0), models)
    assert strict.resolve(loaded, wish) == first
    models.store_away = True
    with pytest.raises(AdapterLookupError):  # nobody could be asked for too long
        strict.resolve(loaded, wish)


def test_a_job_waits_for_a_registry_that_is_away_and_holds_up_nobody(bench: InProcessService, models: FakeModels) -> None:
    models.away = True
    assert bench.client.put("/v1/jobs/with-grit-1", json={**ASK, "adapters": some("grit")}).status_code == 202
    assert bench.client.put("/v1/jobs/plain-job-1", json=ASK).status_code == 202
    until(lambda: state(bench, "plain-job-1")["state"] == "done")
    assert state(bench, "with-grit-1")["state"] in ("queued", "running")
    models.away = False
    until(lambda: state(bench, "with-grit-1")["state"] == "done")
    assert state(bench, "with-grit-1")["sounds"][0]["adapters"][0]["release"] == "grit"
    told = bench.context.job_store.read("anyone", "with-grit-1")
    assert told is not None
    assert told.length == 3  # made, claimed, done: no event for each try


def state(bench: InProcessService, id: str) -> Any:
    return bench.client.get(f"/v1/jobs/{id}").json()


def test_a_release_that_is_an_adapter_itself_can_be_turned_down(models: FakeModels) -> None:
    loaded = a_loaded()
    loaded.release = an_adapter("grit")
    wish = GenerationRequest.model_validate({**ASK, "adapters": some(("grit", 0.25), ("dust", 1.5))}).adapters
    chosen = {one.release.name: one for one in AdapterResolver(GenerationSettings(), models).resolve(loaded, wish)}
    assert (chosen["grit"].strength, chosen["grit"].extra) == (0.25, -0.75)
    assert (chosen["dust"].strength, chosen["dust"].extra) == (1.5, 1.5)


def test_a_dora_is_not_turned_down_in_the_release_that_holds_it(models: FakeModels) -> None:
    loaded, resolver = a_loaded(), AdapterResolver(GenerationSettings(), models)
    loaded.release = GRIT
    models.doras.add(GRIT.weights.adapter_digest)
    whole, half = (GenerationRequest.model_validate({**ASK, "adapters": some(("grit", s))}).adapters for s in (1.0, 0.5))
    assert resolver.resolve(loaded, whole)[0].extra == 0
    with pytest.raises(UnfitAdapterError, match="cannot be turned up or down"):
        resolver.resolve(loaded, half)
    loaded.release = a_loaded().release  # beside its base any strength will do
    assert resolver.resolve(loaded, half)[0].extra == 0.5


def test_a_candidate_that_did_not_pass_is_for_those_who_serve_candidates(models: FakeModels) -> None:
    models.adapters += [an_adapter("grit", "2", passed=False), an_adapter("grit", "3", passed=False), an_adapter("grit", "4")]
    models.candidates["grit"] = "3"
    for settings, version, allowed in (
        (GenerationSettings(), "3", False),
        (GenerationSettings(candidates=True), "3", True),
        (GenerationSettings(candidates=True), "2", False),
    ):
        wish = GenerationRequest.model_validate({**ASK, "adapters": some(f"grit:{version}")}).adapters
        if allowed:
            assert AdapterResolver(settings, models).resolve(a_loaded(), wish)
        else:
            with pytest.raises(Exception, match="it copies"):
                AdapterResolver(settings, models).resolve(a_loaded(), wish)


def test_an_operator_says_which_may_be_asked_for(models: FakeModels) -> None:
    wish = GenerationRequest.model_validate({**ASK, "adapters": some("grit")}).adapters
    assert AdapterResolver(GenerationSettings(adapters="grit"), models).resolve(a_loaded(), wish)
    assert [release.name for release in AdapterResolver(GenerationSettings(adapters="dust"), models).list_offered()] == ["dust"]
    for names in ("dust", ""):
        with pytest.raises(Exception, match="there is no adapter"):
            AdapterResolver(GenerationSettings(adapters=names), models).resolve(a_loaded(), wish)


def test_a_form_carries_them_as_json(bench: InProcessService) -> None:
    fields = {"prompt": "a drone", "seconds": "0.5", "steps": "3", "seed": "7"}
    made = bench.client.post("/v1/generations", data={**fields, "adapters": json.dumps(some(("grit", 0.7)))}, files={})
    assert made.status_code == 415  # no file, no form: httpx sends it urlencoded
    parts = {name: (None, value) for name, value in {**fields, "adapters": json.dumps(some(("grit", 0.7)))}.items()}
    assert bench.client.post("/v1/generations", files=parts).content == bench.post(adapters=some(("grit", 0.7))).content
    parts["adapters"] = (None, "grit")
    refused(bench.client.post("/v1/generations", files=parts), 422, "invalid-request", "adapters")
