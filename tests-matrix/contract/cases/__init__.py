"""The cases by theme. A case's name says what a user may rely on; its docstring, where there is one, says why."""

from __future__ import annotations

from contract.case import cases_of
from contract.cases import (
    approvals,
    background,
    bad_input,
    bad_sagas,
    compensation,
    concurrency,
    correlation,
    decisions,
    deferred,
    http_routes,
    idempotency,
    inline,
    lifecycle,
    owners,
    problems,
    recoveries,
    repeated_requests,
    shutdown,
    transactions,
    true_ends,
    typed_contexts,
    typed_values,
    unusable_stores,
    waits,
    webhooks,
    without_a_request,
)

__all__ = ["CASES"]

CASES = {
    module.__name__.rpartition(".")[2]: cases_of(vars(module))
    for module in (
        lifecycle,
        correlation,
        inline,
        background,
        deferred,
        compensation,
        true_ends,
        concurrency,
        bad_input,
        bad_sagas,
        typed_values,
        typed_contexts,
        unusable_stores,
        idempotency,
        owners,
        repeated_requests,
        transactions,
        shutdown,
        waits,
        recoveries,
        webhooks,
        approvals,
        http_routes,
        problems,
        decisions,
        without_a_request,
    )
}
