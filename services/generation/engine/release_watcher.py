"""Follows the registry: a new version is loaded beside the old one, tested, and put in its place between two batches.

A broken version leaves the old one in place. While the registry or the store is away, loaded releases are served on; a service
that starts then takes the last good release from this machine's cache. A release stops when a contributor withdraws their consent. Then the
newest version of its name that is clean takes its place: also in the services that start later, whatever the alias says.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol, TypeVar

from audiotune.domain.release import Release
from audiotune.errors import AudioTuneError, ConsentError, GenerationError, RegistryError, StoreError
from services.generation.engine.adapters import AdapterResolver
from services.generation.engine.consent_watch import ConsentWatch, describe_withdrawal
from services.generation.engine.engine import Engine, Generate
from services.generation.engine.loaded_releases import NOTHING_YET
from services.generation.engine.work import ANYONE, LoadedRelease
from services.generation.errors import describe_error, is_outage
from services.generation.settings import GenerationSettings

T = TypeVar("T")
LOG = logging.getLogger("audiotune.generation")
_SILENCE_DBFS = -70.0
_SILENT_S = 5.0  # a question that takes longer is reported by health


class ReleaseSource(Protocol):
    """Where releases come from: the port that the real registry and the tests' fake stand behind."""

    def wanted_versions(self) -> dict[str, str | None]:
        """Release name -> version that should be served, the default first; None where nothing is registered."""

    def load(self, name: str, version: str) -> LoadedRelease:
        """Checks digest and consent, then loads. Raises AudioTuneError."""

    def require_consent(self, release: Release) -> None:
        """Raises GovernanceError when somebody in it has withdrawn, or when its lineage is not that of its dataset."""

    def require_version(self, name: str, version: str) -> None:
        """As `require_consent`, of a registered version. Raises AudioTuneError."""

    def find_clean_version(self, name: str, refused: str) -> str | None:
        """The newest version, other than the refused one, that passes every gate and that the group accepted, where the agreement
        asks for that. Raises AudioTuneError when nobody can say."""

    def find_newest_event(self) -> int:
        """The number of the ledger's newest event. Raises AudioTuneError."""

    def find_left(self, members: set[str]) -> set[str]:
        """Those of them who are in the group no more. Raises AudioTuneError."""

    def fits_beside(self, name: str, version: str, old: LoadedRelease) -> bool:
        """Whether memory holds the new version beside the old one."""

    def cache_release(self, release: Release) -> None:
        """Keeps it in the local cache as the last good one of its name, to which everybody agrees now."""

    def forget_release(self, release: Release) -> None:
        """Removes it from the local cache: somebody does not agree."""

    def load_cached(self) -> list[LoadedRelease]:
        """The last good releases from the local cache, loaded, the default first. Raises AudioTuneError when there are none."""


class ReleaseWatcher:
    """Watches the registry for an engine, in a thread of its own."""

    def __init__(
        self,
        settings: GenerationSettings,
        models: ReleaseSource,
        engine: Engine,
        generate: Generate,
        adapters: AdapterResolver,
    ) -> None:
        self._settings, self._source, self._engine, self._generate = settings, models, engine, generate
        self._loaded_releases, self._adapters = engine.loaded_releases, adapters
        self._broken: dict[tuple[str, str], tuple[float, float]] = {}  # version -> when to try again, after how long
        self._asked_at = 0.0  # when a question was put that is not answered yet
        self._stopped, self._wake = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run_loop, daemon=True, name="following")
        self._consent = ConsentWatch(settings, models, self._loaded_releases, self._handle_stop, self._handle_news)
        self.swaps = {"done": 0, "broken": 0}

    def start(self) -> ReleaseWatcher:
        self._thread.start()
        self._consent.start()
        return self

    def stop(self) -> None:
        self._stopped.set()
        self._wake.set()
        self._consent.stop()

    @property
    def silence_reason(self) -> str:
        """The reason while the registry, or the store asked for consent, does not answer or gives no clear answer; else ""."""
        silent_s = max(time.monotonic() - began if began else 0.0 for began in (self._asked_at, self._consent.asked_at))
        silence = f"registry and store have not answered for {silent_s:.0f} s" if silent_s > _SILENT_S else ""
        return "; ".join(filter(None, (silence, self._consent.doubt)))

    def check_now(self) -> None:
        """An alias may have moved: looks at once."""
        self._wake.set()

    def _handle_stop(self, loaded: LoadedRelease, was_refused: bool) -> None:
        if was_refused:
            self._engine.drop_refused()
            self.check_now()
        else:  # load asks for consent again before a stopped version comes back
            self._remember_broken(loaded.release.name, loaded.release.version)

    def _handle_news(self) -> None:
        """What else an event of the ledger may concern: adapters, and members whose work waits."""
        refusals, members = self._engine.refusals, self._engine.members - {ANYONE}
        refusals.adapters = self._adapters.ask_again()
        refusals.members = frozenset(self._source.find_left(members))
        self._engine.drop_refused()

    def _run_loop(self) -> None:
        while not self._stopped.is_set():
            self._wake.clear()
            sought = self._loaded_releases.list_sought()
            self._check_and_report()
            self._loaded_releases.end_search(sought)
            self._wake.wait(self._settings.poll_s)

    def _check_and_report(self) -> None:
        """One look. Health reports whatever goes wrong, and nothing ends the loop; bugs are logged with their traceback."""
        try:
            self._check_registry()
            self._loaded_releases.trouble.pop("", None)
        except Exception as e:
            self._report_trouble("", e)
            if is_outage(e) or isinstance(e, RegistryError | StoreError):
                self._load_last_good()

    def _report_trouble(self, name: str, e: Exception) -> None:
        if not isinstance(e, AudioTuneError):
            LOG.error("the release watcher failed%s", f" over {name}" if name else "", exc_info=e)
        if not name and self._loaded_releases.trouble.get(name) != describe_error(e):
            LOG.warning("not served, or not followed: %s", describe_error(e))
        self._loaded_releases.trouble[name] = describe_error(e)

    def _check_registry(self) -> None:
        wanted = self._time_question(self._source.wanted_versions)
        self._loaded_releases.names = tuple(wanted)
        if not wanted:
            raise GenerationError("no release is registered")
        for name in set(self._loaded_releases.by_name) - set(wanted):
            self._loaded_releases.drop(name)
        for name, version in wanted.items():
            if version is None:
                self._loaded_releases.trouble[name] = NOTHING_YET
            elif (chosen := self._choose_version(name, version)) is not None:
                self._follow_version(name, chosen)

    def _time_question(self, question: Callable[[], T]) -> T:
        self._asked_at = time.monotonic()
        try:
            return question()
        finally:
            self._asked_at = 0.0

    def _choose_version(self, name: str, wanted: str) -> str | None:
        """The version under the alias; where somebody in it does not agree, the newest clean one, or None."""
        old = self._loaded_releases.by_name.get(name)
        try:
            if old is None or old.release.version != wanted:  # else the consent watch asks
                self._source.require_version(name, wanted)
        except Exception as e:
            if is_outage(e):
                raise
            if isinstance(e, ConsentError):
                chosen = self._source.find_clean_version(name, wanted)
                instead = f"version {chosen} is played instead" if chosen else "there is no other that may be"
                self._loaded_releases.withdrawn[name] = f"{describe_withdrawal(wanted, e)}; {instead}"
                return chosen
            return wanted  # loading it fails, too, and says so
        if old is None or self._loaded_releases.by_name.get(name) is old:  # not withdrawn at this moment
            self._loaded_releases.withdrawn.pop(name, None)
        return wanted

    def _follow_version(self, name: str, version: str) -> None:
        old = self._loaded_releases.by_name.get(name)
        if old is not None and old.release.version == version:
            self._loaded_releases.trouble.pop(name, None)
            if self._loaded_releases.exhausted and self._engine.is_idle:
                self._recover_memory(old)
            return
        again_at, _ = self._broken.get((name, version), (0.0, 0.0))
        if time.monotonic() < again_at:
            return  # a broken version is tried again, but not at every look
        try:
            self._swap_version(name, version, old)
        except Exception as e:
            if is_outage(e):
                raise  # nothing is said about the version: it is tried again at the next look
            self.swaps["broken"] += 1
            self._remember_broken(name, version)
            self._report_trouble(name, e)
            LOG.warning("%s version %s is not served: %s", name, version, self._loaded_releases.trouble[name])
        else:
            LOG.info("%s version %s is served", name, version)
            self._broken.pop((name, version), None)
            self._loaded_releases.trouble.pop(name, None)

    def _swap_version(self, name: str, version: str, old: LoadedRelease | None) -> None:
        if old is None or self._source.fits_beside(name, version, old):
            new = self._source.load(name, version)
            self._test_release(new)
            self._loaded_releases.put(new)
        else:
            self._engine.run_between_batches(lambda: self._drain_and_load(name, version, old))
            new = self._loaded_releases.get(name)
        self.swaps["done"] += 1
        self._source.cache_release(new.release)

    def _drain_and_load(self, name: str, version: str, old: LoadedRelease) -> None:
        """For memory that does not hold two versions: requests wait while the new one takes the old one's place; when it is broken, the
        old one is loaded again."""
        release, old.model = old.release, None
        try:
            new = self._source.load(name, version)
            self._test_release(new)
        except Exception:
            self._loaded_releases.put(self._source.load(release.name, release.version))
            raise
        self._loaded_releases.put(new)

    def _test_release(self, loaded: LoadedRelease) -> None:
        """Makes and measures a short sound before the release is served."""
        from audiotune.stable_audio.sample import SamplingRequest

        where = f"{loaded.release.name} version {loaded.release.version}"
        request = SamplingRequest("a test", seconds=min(0.5, loaded.longest_s), steps=4)
        sound = self._generate(loaded.model, [request], None, None)[0]
        if sound is None or not sound.peak_dbfs >= _SILENCE_DBFS:
            raise GenerationError("its first sound is silent", where=where)

    def _recover_memory(self, loaded: LoadedRelease) -> None:
        try:
            self._engine.run_between_batches(lambda: self._test_release(loaded))
            self._loaded_releases.exhausted = False
        except Exception as e:  # mostly still no memory: health says so, and the next look tries again
            LOG.warning("%s still cannot make a sound: %s", loaded.release.name, describe_error(e))

    def _remember_broken(self, name: str, version: str) -> None:
        _, known_s = self._broken.get((name, version), (0.0, self._settings.poll_s / 2))
        wait_s = min(60.0, 2 * known_s)
        self._broken[(name, version)] = (time.monotonic() + wait_s, wait_s)

    def _load_last_good(self) -> None:
        if self._loaded_releases.by_name:
            return
        try:
            found = self._source.load_cached()
        except AudioTuneError:
            return  # health reports the outage already
        except Exception as e:
            self._report_trouble("", e)
            return
        try:
            for loaded in found:
                self._test_release(loaded)
                self._loaded_releases.put(loaded)
            self._loaded_releases.names = tuple(loaded.release.name for loaded in found)
        except Exception as e:
            self._report_trouble("", e)
