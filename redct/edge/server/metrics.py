"""What a server counts, in the text format of Prometheus. No label's values can be chosen by a client."""

from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from redct.edge.server.queue import Answer

SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)
CLASSIFY = "/classify"
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Metrics:
    """The counters of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = Counter(
            "redct_requests", "Requests by path and status; 499: the client had gone", ["path", "status"],
            registry=self.registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "redct_classify_seconds", "Time from the head of a POST /classify to its end", buckets=SECONDS,
            registry=self.registry,
        )  # fmt: skip
        self._documents = Counter("redct_documents", "Documents labeled", ["label"], registry=self.registry)
        self._deferred = Counter(
            "redct_documents_deferred", "Documents from which the classifier abstained", registry=self.registry
        )
        self._errors = Counter("redct_documents_errors", "Documents without answer", ["error"], registry=self.registry)
        self._sizes = Histogram(
            "redct_batch_documents", "Documents classified together", buckets=SIZES, registry=self.registry
        )

    def describe(self, bundle: str, version: str, labels: Sequence[str]) -> None:
        """Says which bundle is served, and begins every label at 0."""
        info = Gauge("redct_bundle", "The bundle's sha256 and redct", ["sha256", "redct"], registry=self.registry)
        info.labels(bundle, version).set(1)
        for label in labels:
            self._documents.labels(label)

    def follow(self, name: str, help: str, value: Callable[[], float]) -> None:
        """Shows a value as it is at the time of asking."""
        Gauge(name, help, registry=self.registry).set_function(value)

    def request(self, path: str, status: int, seconds: float) -> None:
        """Counts a request."""
        self._requests.labels(path, str(status)).inc()
        if path == CLASSIFY:
            self._seconds.observe(seconds)

    def batch(self, documents: int) -> None:
        """Counts a batch."""
        self._sizes.observe(documents)

    def answers(self, answers: Sequence[Answer]) -> None:
        """Counts the answers of a request."""
        for answer in answers:
            if answer.error is not None:
                self._errors.labels(answer.error).inc()
            elif answer.abstained:
                self._deferred.inc()
            else:
                self._documents.labels(answer.label).inc()

    def text(self) -> bytes:
        """Returns all of it for Prometheus."""
        return generate_latest(self.registry)
