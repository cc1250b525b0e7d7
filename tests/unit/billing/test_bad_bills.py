"""Bad input: money is kept or told, never dropped."""

from __future__ import annotations

import json
import random
from collections import Counter
from decimal import Decimal
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from costops.transforms.billing.bill import Input, Options, Seen, Times
from costops.transforms.billing.kinds import BILL_FORMAT
from costops.transforms.billing.lint import lint
from costops.transforms.buckets.feed import read_usage
from costops.transforms.buckets.kinds import USAGE_FORMAT
from tests.unit.billing.bills import batches, costs_page, rows, total, write


def test_cents_are_not_dollars(tmp_path: Path) -> None:
    page = write(tmp_path, "p.json", json.dumps({"data": [{
        "starting_at": "2026-10-01T00:00:00Z", "ending_at": "2026-10-02T00:00:00Z", "results": [
            {"amount": "123.45", "currency": "USD", "cost_type": "tokens", "model": "claude-opus-5",
             "token_type": "output_tokens", "workspace_id": None},
            {"amount": "twelve", "currency": "USD", "cost_type": "tokens"}]}]}))
    made = batches("anthropic.cost_report", [page])
    assert rows(made)["BilledCost"].to_list() == [Decimal("1.2345")]
    assert rows(made)["SubAccountId"].to_list() == ["default"]
    found = pl.concat([batch.findings for batch in made])
    assert found.select("reason", "line", "severity").rows() == [("bad_amount", 2, "error")]
    assert (total(made).read, total(made).kept, total(made).findings) == (2, 1, 1)


def test_amounts_as_numbers_and_as_strings_are_the_same(tmp_path: Path) -> None:
    page = costs_page(tmp_path, "2026-11-01", {"2026-10-01": [("gpt-5, input", "0.1"), ("gpt-5, output", "12.50")]})
    text = page.path.read_text().replace('"0.1"', "0.1")
    page.path.write_text(text)
    assert rows(batches("openai.costs", [page]))["BilledCost"].to_list() == [Decimal("0.1"), Decimal("12.50")]


def test_an_unmapped_line_keeps_its_cost(tmp_path: Path) -> None:
    page = costs_page(tmp_path, "2026-11-01", {"2026-10-01": [("hyper compute ticks", "7.77")]})
    made = rows(batches("openai.costs", [page]))
    assert made.select("x_MappingStatus", "BilledCost", "x_ModelId").rows() == [("unmapped", Decimal("7.77"), None)]


def test_a_page_that_is_an_error_or_cut_is_damaged_and_not_a_bill_of_nothing(tmp_path: Path) -> None:
    bad = [write(tmp_path, "a.json", '{"error": {"message": "no"}}'), write(tmp_path, "b.json", '{"data": [')]
    made = batches("openai.costs", bad)
    assert [batch.tally.damaged for batch in made] == [True, True]
    assert pl.concat([batch.findings for batch in made])["reason"].to_list() == ["damaged_file"] * 2


def test_a_generic_bill_takes_its_columns_from_the_configuration(tmp_path: Path) -> None:
    sheet = write(tmp_path, "bill.csv", "Tag,Modell,Art,Menge,Betrag\n2026-10-02,m-1,output,1000,0.5\n2026-10-02,m-1,"
                                        "wunder,10,0.25\n2026-10-02,m-1,input,x,1\n2026-10-02,m-1,input,5,\n")
    options = Options("s", provider="mistral_ai", issuer="mistral", currency="EUR", columns={
        "day": "Tag", "model": "Modell", "meter": "Art", "quantity": "Menge", "amount": "Betrag"})
    made = batches("generic.bill", [sheet], options)
    frame = rows(made).sort("x_Line")
    assert frame["BilledCost"].to_list() == [Decimal("0.5"), Decimal("0.25"), Decimal(1)]
    assert frame["x_MappingStatus"].to_list() == ["mapped", "unmapped", "mapped"]
    assert set(frame["BillingCurrency"]) == {"EUR"}
    assert set(frame["InvoiceIssuerName"]) == {"Mistral AI"}
    assert frame["x_Day"].cast(pl.String).unique().to_list() == ["2026-10-02"]
    found = pl.concat([batch.findings for batch in made]).select("reason", "severity", "line").rows()
    assert sorted(found) == [("bad_amount", "warning", 3), ("missing_amount", "error", 4)]


def test_googles_credits_become_rows_and_late_use_lands_in_its_invoice_month(tmp_path: Path) -> None:
    record = {
        "billing_account_id": "b", "service": {"id": "C7E2-9256-1C43", "description": "Vertex AI"},
        "sku": {"id": "S", "description": "Gemini 2.5 Flash GA Text Input - Predictions"}, "currency": "EUR",
        "usage_start_time": "2026-09-30 23:00:00 UTC", "usage_end_time": "2026-10-01 00:00:00 UTC",
        "cost": 1.5, "cost_type": "regular", "invoice": {"month": "202610"}, "currency_conversion_rate": 0.92,
        "usage": {"amount": 2_000_000, "unit": "count", "amount_in_pricing_units": 2.0,
                  "pricing_unit": "1000000 count"},
        "credits": [{"name": "promo", "type": "PROMOTION", "amount": -0.5},
                    {"name": "cud", "type": "COMMITTED_USAGE_DISCOUNT", "amount": -0.25}]}
    page = write(tmp_path, "x.jsonl", json.dumps(record) + "\nnot json\n")
    made = batches("gcp.billing_export", [page])
    frame = rows(made)
    assert frame["BilledCost"].sum() == Decimal("0.75")
    assert set(frame["billing_period"]) == {"2026-10"}
    assert frame["x_ChargeKind"].to_list() == ["usage", "credit", "commitment_drawdown"]
    assert frame["ConsumedQuantity"].to_list() == [Decimal(2_000_000), None, None]
    assert (total(made).read, total(made).kept, total(made).findings) == (2, 1, 1)


def test_rows_that_two_exports_of_google_both_tell_count_once(tmp_path: Path) -> None:
    line = json.dumps({"cost": 1, "currency": "USD", "invoice": {"month": "202610"}, "cost_type": "regular"})
    other = line.replace('"cost": 1', '"cost": 2')
    files = [write(tmp_path, "a.jsonl", f"{line}\n{line}\n"), write(tmp_path, "b.jsonl", f"{line}\n{other}\n")]
    made = batches("gcp.billing_export", files)
    assert rows(made)["BilledCost"].sum() == Decimal(4)
    assert total(made).duplicates == 1


def test_net_columns_count_instead_of_discount_lines_and_never_both(tmp_path: Path) -> None:
    head = "line_item_line_item_type,line_item_usage_start_date,line_item_unblended_cost,line_item_currency_code," \
           "line_item_product_code,line_item_usage_type"
    lines = ["Usage,2026-10-01T00:00:00Z,10,USD,AmazonBedrock,USE1-NovaLite-input-tokens",
             "EdpDiscount,2026-10-01T00:00:00Z,-1,USD,AmazonBedrock,"]
    plain = write(tmp_path, "plain.csv", "\n".join([head, *lines]) + "\n")
    net = write(tmp_path, "net.csv", "\n".join([head + ",line_item_net_unblended_cost", lines[0] + ",9",
                                                lines[1] + ","]) + "\n")
    assert rows(batches("aws.cur2", [plain]))["BilledCost"].sum() == Decimal(9)
    assert rows(batches("aws.cur2", [net]))["BilledCost"].sum() == Decimal(9)


def test_a_marketplace_line_of_old_focus_names_seller_and_host_by_its_marker(tmp_path: Path) -> None:
    head = "BilledCost,BillingCurrency,BillingPeriodStart,BillingPeriodEnd,ChargePeriodStart,ChargePeriodEnd," \
           "ChargeCategory,ProviderName,PublisherName,x_PublisherType,ServiceName,BillingAccountId"
    same = "1,USD,2026-10-01,2026-11-01,2026-10-01,2026-10-02,Usage,Microsoft"
    sheet = write(tmp_path, "f.csv", f"{head}\n{same},Contoso,Marketplace,X,a\n{same},MICROSOFT CORP,,Y,a\n")
    made = rows(batches("focus", [sheet])).sort("x_Line")
    assert made["ServiceProviderName"].to_list() == ["Contoso", "Microsoft"]
    assert made["HostProviderName"].to_list() == ["Microsoft", "Microsoft"]
    assert '"x_PublisherType":"Marketplace"' in made["x_ProviderColumns"][0]


def test_lines_under_the_name_of_a_document_are_read_as_lines(tmp_path: Path) -> None:
    line = '{"billing_account_id": "b", "cost": 0.5, "currency": "EUR", "usage_start_time": "2026-10-02T00:00:00Z", ' \
           '"invoice": {"month": "202610"}}\n'
    made = batches("gcp.billing_export", [write(tmp_path, "export-000000000000.json", line * 3 + "{torn\n")])
    assert (total(made).read, total(made).kept, total(made).findings) == (4, 3, 1)
    assert rows(made)["BilledCost"].sum() == Decimal("1.5")


@pytest.mark.parametrize("seed", range(3))
def test_records_are_counted_as_often_as_they_were_told(seed: int) -> None:
    draw, told, want = random.Random(seed), Times(), Counter[int]()
    for _ in range(20):
        batch = [draw.randrange(2**64 - 40, 2**64) if draw.random() < 0.5 else draw.randrange(40)
                 for _ in range(draw.randrange(30))]
        by_then = []
        for one in batch:
            want[one] += 1
            by_then.append(want[one])
        assert told.add(np.array(batch, dtype=np.uint64)).tolist() == by_then
    other = Times()
    other.add(np.array([3] * 99 + [41], dtype=np.uint64))
    told.at_least(other)
    want[3], want[41] = max(want[3], 99), 1
    assert told.of(np.array(list(want), dtype=np.uint64)).tolist() == list(want.values())


def test_ids_of_earlier_batches_are_seen_again_and_null_is_none() -> None:
    seen = Seen()
    assert not seen.again(pl.Series(["a", "b", "a", None])).any()
    assert seen.again(pl.Series(["b", "c", None, "a"])).to_list() == [True, False, False, True]


def test_the_lint_finds_planted_faults(tmp_path: Path) -> None:
    page = costs_page(tmp_path, "2026-11-01", {"2026-10-01": [("gpt-5, input", "1")]})
    good = rows(batches("openai.costs", [page]))
    assert lint(good).filter(pl.col("severity") == "error").rows() == []
    planted = good.with_columns(
        ChargeCategory=pl.lit("Usge"), BillingCurrency=pl.lit("ZZZ"), ListUnitPrice=pl.lit(Decimal(-1)),
        BillingAccountType=pl.lit(None, dtype=pl.String), Tags=pl.lit("team=a"),
        ChargePeriodEnd=pl.col("ChargePeriodStart"),
        BilledCost=pl.lit(None, dtype=pl.Decimal(38, 18)), x_badName=pl.lit(1))
    broken = lint(planted.drop("x_badName"))["rule"].to_list()
    assert {"allowed_value", "currency_is_iso", "price_is_not_negative", "json_object", "period_is_half_open",
            "not_null", "account_has_type"} <= set(broken)
    assert lint(planted)["rule"].to_list() == ["custom_column_name"]


def test_usage_that_contradicts_itself_is_set_aside(tmp_path: Path) -> None:
    base = {"object": "organization.usage.completions.result", "output_tokens": 5, "num_model_requests": 1}
    results = [{**base, "input_tokens": 1000, "input_cached_tokens": 400, "input_cache_write_tokens": 100,
                "input_uncached_tokens": 500},
               {**base, "input_tokens": 1000, "input_cached_tokens": 400}, {**base, "input_tokens": 10,
                                                                            "input_cached_tokens": 40},
               {**base, "input_tokens": 1.5}, {"object": "organization.usage.telepathy.result"}]
    page = write(tmp_path, "p.json", json.dumps({"data": [
        {"start_time": 1790812800, "end_time": 1790899200, "results": results}]}))
    made = read_usage(USAGE_FORMAT["openai.usage"], [page], Options("u"))
    assert sorted(made.rows["uncached_input_tokens"]) == [500, 600]
    assert sorted(made.findings["reason"]) == ["impossible_count", "impossible_count", "unknown_unit"]
    assert made.tallies[0].read == 5


def test_counts_of_a_tracer_are_disjoint_or_nested_as_their_total_says(tmp_path: Path) -> None:
    def one(number: int, **usage: int) -> dict[str, object]:
        return {"id": f"o{number}", "type": "GENERATION", "startTime": "2026-10-01T00:00:00Z", "model": "gpt-5",
                "usageDetails": usage}
    page = write(tmp_path, "p.json", json.dumps({"data": [
        one(1, input=552, input_cached_tokens=2048, output=156, output_reasoning_tokens=384, total=3140),
        one(2, input=2600, input_cache_read=2048, output=540, output_reasoning=384, total=3140),
        one(3, input=5, output=5, total=99), {"id": "s", "type": "SPAN"}]}))
    made = read_usage(USAGE_FORMAT["langfuse.observations"], [page], Options("u"))
    counts = made.rows.select("uncached_input_tokens", "cache_read_tokens", "output_tokens", "reasoning_tokens")
    assert counts.rows()[:2] == [(552, 2048, 540, 384), (552, 2048, 540, 384)]
    assert made.findings["reason"].to_list() == ["usage_total_differs"]


def test_an_invoice_whose_lines_differ_from_its_total_and_one_without_lines_are_told(tmp_path: Path) -> None:
    body = [{"provider": "openai", "invoice_id": "A", "period_start": "2026-10-01", "currency": "USD", "total": "10",
             "lines": [{"kind": "usage", "amount": "9"}]},
            {"provider": "anthropic", "invoice_id": "A", "period_start": "2026-10-01", "currency": "USD", "total": "5"}]
    form = BILL_FORMAT["invoices"]
    item = write(tmp_path, "i.json", json.dumps(body))
    made = next(form.read(form.plan([item], Options("i"))[0][0], Options("i")))
    assert made.rows.height == 2
    assert sorted(made.findings["reason"]) == ["invoice_lines_differ", "invoice_without_lines"]


def test_a_newer_telling_of_an_invoice_replaces_it(tmp_path: Path) -> None:
    from costops.transforms.billing.invoices import newest

    head = "as_of,provider,month,amount_due_usd\n"
    item = write(tmp_path, "s.csv", head + "2026-11-01,openai,2026-10,5\n2026-11-09,openai,2026-10,6\n")
    form = BILL_FORMAT["invoices"]
    made = list(form.read(form.plan([item], Options("i"))[0][0], Options("i")))
    assert newest(made)["BilledCost"].to_list() == [Decimal(6)]


def test_every_kind_of_the_contract_is_registered_once() -> None:
    wanted = {"openai.costs", "anthropic.cost_report", "anthropic.console_cost", "aws.cur2", "aws.cost_explorer",
              "gcp.billing_export", "azure.cost_export", "azure.cost_management", "focus", "generic.bill", "invoices",
              "fx_rates", "business_metrics"}
    assert set(BILL_FORMAT) == wanted
    assert Input("x/as_of=2026-11-03/y", Path()).seen_at is not None
