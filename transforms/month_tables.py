"""The tables of a reconciled month."""

from __future__ import annotations

from costops.transforms.fields import Field, Type
from costops.transforms.table import Table, columns

_GAP_OWN: tuple[Field, ...] = (
    Field("issuer", Type.TEXT, "who sends the bill"),
    Field("unit", Type.TEXT, "what is billed: a name of `units`; NULL on lines that are no usage"),
    Field("computed_usd", Type.USD_BILL, "list cost of the logged usage"),
    Field("billed_usd", Type.USD_BILL, "what the bill asks, in dollars at the group's rate"),
    Field("gap_usd", Type.USD_BILL, "billed less computed"),
    Field("cause", Type.TEXT, "why: `missing_usage`, `extra_usage`, `quantity`, `model_mapping`, `tier`, "
          "`price_change`, `price_book`, `region`, `discount`, `commitment`, `credit`, `tax`, `fx`, `rounding`, "
          "`timing`, `tool_fee`, `unmapped_line`, `unexplained`"),
    Field("cause_usd", Type.USD_BILL, "how much of the gap it is; the causes of a line sum to its gap exactly"),
    Field("status", Type.TEXT, "`provisional`, `settled`, `locked`"),
)
_GAP_EVIDENCE: tuple[Field, ...] = (
    Field("agreed", Type.FLAG, "true where a contract says so"),
    Field("usage_sources", Type.TEXT, "the sources that logged it"),
    Field("logged_quantity", Type.USD_BILL, "units that the logs count"),
    Field("billed_quantity", Type.USD_BILL, "units that the bill counts, or that its amount implies"),
    Field("computed_usd_per_million", Type.NUMBER, "our price, per million units"),
    Field("billed_usd_per_million", Type.NUMBER, "the price that the bill implies, per million units"),
    Field("billed_price_id", Type.TEXT, "the price list entry that it is billed at, where it is another"),
    Field("contract", Type.TEXT, "the contract that says so"),
    Field("currency", Type.TEXT, "currency of the bill"),
    Field("bill_line", Type.COUNT, "first record of the bill's input that it concerns"),
    Field("bill_rows", Type.COUNT, "bill rows of the line"),
    Field("lines", Type.COUNT, "lines at the finest grain that this row sums"),
    Field("invoice_id", Type.TEXT, "invoice, once known"),
    Field("detail", Type.TEXT, "the same in words"),
)
OUT_RECONCILIATION = Table(
    "out_reconciliation", "one cause of one gap of one bill line",
    columns("month", _GAP_OWN[0], "source", "provider", "account_id", "project_id", "model_id", _GAP_OWN[1],
            "service_tier", "region", "day", *_GAP_OWN[2:], *_GAP_EVIDENCE, "price_id", "input_id"),
    key=("month", "issuer", "source", "account_id", "model_id", "unit", "day", "cause"), partition=("month",),
    sort=("issuer", "source", "account_id", "model_id", "unit", "day", "cause"),
    required=frozenset({"month", "issuer", "computed_usd", "billed_usd", "gap_usd", "cause", "cause_usd", "status"}),
)
OUT_RECONCILIATION_CORRECTION = Table(
    "out_reconciliation_correction", "what one cause of a locked month would be today, as a dated difference",
    columns("month", _GAP_OWN[0], "source", "account_id", "model_id", _GAP_OWN[1], "day", *_GAP_OWN[2:],
            Field("corrected_on", Type.DAY, "when the difference was found"),
            Field("correction_of", Type.TEXT, "hash of the lock that it differs from")),
    key=("month", "issuer", "source", "account_id", "model_id", "unit", "day", "cause", "corrected_on"),
    partition=("month",), sort=("issuer", "source", "account_id", "model_id", "unit", "day", "cause", "corrected_on"),
    required=frozenset({"month", "issuer", "cause", "cause_usd", "corrected_on"}),
)
OUT_RECONCILIATION_LINE = Table(
    "out_reconciliation_line", "one line of a bill beside what the logs say it costs, matched or not",
    columns("month", Field("line_id", Type.COUNT, "number of the line within the month"), _GAP_OWN[0], "source",
            "provider", "account_id", "project_id", "model_id", _GAP_OWN[1], "service_tier", "region", "day",
            Field("kind", Type.TEXT, "`usage`, or the kind of a line that is none: `tax`, `credit` ..."),
            Field("description", Type.TEXT, "text of a line that is no usage"),
            Field("matched", Type.FLAG, "true where both sides have it"), *_GAP_OWN[2:5],
            Field("billed_list_usd", Type.USD_BILL, "list cost as billed"),
            Field("computed_effective_usd", Type.USD_BILL, "cost of the logged usage after contracts"),
            *_GAP_EVIDENCE[1:4],
            Field("covered_quantity", Type.USD_BILL, "units that throughput served which is paid by the hour"),
            _GAP_EVIDENCE[7], "requests", _GAP_EVIDENCE[8], *_GAP_EVIDENCE[9:11], _GAP_EVIDENCE[12], "price_id",
            "input_id"),
    key=("month", "line_id"), partition=("month",), sort=("line_id",),
    required=frozenset({"month", "line_id", "issuer", "computed_usd", "billed_usd", "gap_usd", "kind", "matched"}),
)
OUT_CONTRACT = Table(
    "out_contract", "one contract in one of its periods, as it stands at the end of one month",
    columns("month", Field("contract", Type.TEXT, "name of the `[[contracts]]` block"),
            Field("kind", Type.TEXT, "`discount`, `commitment`, `credit`, `provisioned`"), _GAP_OWN[0], "provider",
            "model_id", Field("period_start", Type.DAY, "first day of the period that the amount is for"),
            Field("period_end", Type.DAY, "first day after it; NULL: no end"),
            Field("agreed_usd", Type.USD_BILL, "what is committed, granted, or the fee of the month"),
            Field("drawn_before_usd", Type.USD_BILL, "drawn in the period before this month"),
            Field("drawn_usd", Type.USD_BILL, "drawn in this month; of a discount, what it took off the bill"),
            Field("remaining_usd", Type.USD_BILL, "what is left of the commitment or credit at the end of the month"),
            Field("shortfall_usd", Type.USD_BILL, "undrawn commitment that falls due, as its period ends in the month"),
            Field("expired_usd", Type.USD_BILL, "credit that expired unused in the month"),
            Field("expected_usd", Type.USD_BILL, "what the contract makes of the month's bill"),
            Field("billed_usd", Type.USD_BILL, "what the bill shows of it"),
            Field("difference_usd", Type.USD_BILL, "billed less expected"),
            Field("as_agreed", Type.FLAG, "true where they are equal but for half a cent a line"),
            Field("served_quantity", Type.USD_BILL, "units that provisioned throughput served"),
            Field("served_list_usd", Type.USD_BILL, "what these would have cost at list price")),
    key=("month", "contract", "period_start"), partition=("month",), sort=("contract", "period_start"),
    required=frozenset({"month", "contract", "kind", "issuer", "period_start", "expected_usd", "billed_usd"}),
)
