"""The columns of bills and invoices: FOCUS 1.4 as ratified, and ours beside them under `x_`.

FOCUS names stay as FOCUS writes them. `tests/unit/billing` compares this list with the foundation's own column
model, so that a later version is a change of data.
"""

from __future__ import annotations

from costops.transforms.fields import Field, Type

_T, _D, _I = Type.TEXT, Type.USD_BILL, Type.INSTANT

_BOTH = {
    "BilledCost": (_D, "what is invoiced for the row, in `BillingCurrency`"),
    "BillingAccountId": (_T, "who pays: organisation, payer account, billing account"),
    "BillingCurrency": (_T, "ISO 4217 currency of the invoice"),
    "BillingPeriodEnd": (_I, "end of the billing period, exclusive"),
    "BillingPeriodStart": (_I, "start of the billing period, inclusive"),
    "ChargeCategory": (_T, "`Usage`, `Purchase`, `Tax`, `Credit`, `Adjustment`"),
    "InvoiceDetailId": (_T, "line of the invoice, once known"),
    "InvoiceId": (_T, "number of the invoice; NULL while there is none"),
    "InvoiceIssuerName": (_T, "who sends the invoice"),
}

_COST_AND_USAGE: dict[str, tuple[Type, str]] = {
    "AllocatedMethodDetails": (_T, "JSON, as FOCUS"),
    "AllocatedMethodId": (_T, "as FOCUS"),
    "AllocatedResourceId": (_T, "as FOCUS"),
    "AllocatedResourceName": (_T, "as FOCUS"),
    "AllocatedTags": (_T, "JSON, as FOCUS"),
    "AvailabilityZone": (_T, "as FOCUS"),
    "BillingAccountName": (_T, "its display name"),
    "BillingAccountType": (_T, "`Organization`, `Payer Account` ..."),
    "CapacityReservationId": (_T, "provisioned throughput reservation"),
    "CapacityReservationStatus": (_T, "`Used` or `Unused`, only with the id"),
    "ChargeClass": (_T, "`Correction` where the row amends a closed period, else NULL"),
    "ChargeDescription": (_T, "the provider's text of the line"),
    "ChargeFrequency": (_T, "`One-Time`, `Recurring`, `Usage-Based`"),
    "ChargePeriodEnd": (_I, "end of use, exclusive (UTC)"),
    "ChargePeriodStart": (_I, "start of use, inclusive (UTC)"),
    "CommitmentDiscountCategory": (_T, "`Spend` or `Usage`"),
    "CommitmentDiscountId": (_T, "the commitment that covers the row"),
    "CommitmentDiscountName": (_T, "its name"),
    "CommitmentDiscountQuantity": (_D, "how much of the commitment the row draws"),
    "CommitmentDiscountStatus": (_T, "`Used` or `Unused`"),
    "CommitmentDiscountType": (_T, "the provider's word for the kind of commitment"),
    "CommitmentDiscountUnit": (_T, "currency or unit of the quantity drawn"),
    "CommitmentProgramEligibilityDetails": (_T, "JSON, as FOCUS"),
    "ConsumedQuantity": (_D, "single units used (tokens, seconds, requests); only on usage rows with a SKU"),
    "ConsumedUnit": (_T, "`Tokens`, `Seconds`, `Requests` ..."),
    "ContractApplied": (_T, "JSON, the contract that the row draws on"),
    "ContractedCost": (_D, "cost at the negotiated price"),
    "ContractedUnitPrice": (_D, "negotiated price per `PricingUnit`"),
    "EffectiveCost": (_D, "accrued cost after discounts and commitments"),
    "HostProviderName": (_T, "who runs the service"),
    "ListCost": (_D, "cost at the public price; see `x_ListCostBasis`"),
    "ListUnitPrice": (_D, "public price per `PricingUnit`"),
    "PricingCategory": (_T, "`Standard`, `Dynamic`, `Committed`, `Other`"),
    "PricingCurrency": (_T, "currency or credit of the price list where it is not `BillingCurrency`"),
    "PricingCurrencyContractedUnitPrice": (_D, "the same in `PricingCurrency`"),
    "PricingCurrencyEffectiveCost": (_D, "the same in `PricingCurrency`"),
    "PricingCurrencyListUnitPrice": (_D, "the same in `PricingCurrency`"),
    "PricingQuantity": (_D, "quantity in `PricingUnit`"),
    "PricingUnit": (_T, "`1000000 Tokens`, `1000 Tokens` ..."),
    "RegionId": (_T, "region as billed"),
    "RegionName": (_T, "its name"),
    "ResourceId": (_T, "inference profile, deployment account, endpoint"),
    "ResourceName": (_T, "its name"),
    "ResourceType": (_T, "its kind"),
    "ServiceCategory": (_T, "`AI and Machine Learning` for model usage"),
    "ServiceName": (_T, "`OpenAI API`, `Amazon Bedrock`, `Vertex AI` ..."),
    "ServiceProviderName": (_T, "who sells the service"),
    "ServiceSubcategory": (_T, "`Generative AI` for model usage"),
    "SkuId": (_T, "the provider's SKU or meter, else a stable slug of model and meter"),
    "SkuMeter": (_T, "what is metered, in the provider's words"),
    "SkuPriceDetails": (_T, "JSON: model, direction, cache action, tier"),
    "SkuPriceId": (_T, "SKU with tier, context and geography; NULL where none"),
    "SubAccountId": (_T, "project, workspace, usage account, subscription"),
    "SubAccountName": (_T, "its name"),
    "SubAccountType": (_T, "its kind"),
    "Tags": (_T, "JSON object of tags"),
}

_INVOICE_DETAIL: dict[str, tuple[Type, str]] = {
    "InvoiceDetailCreated": (_I, "when the line was written"),
    "InvoiceDetailDescription": (_T, "text of the line"),
    "InvoiceDetailGrain": (_T, "JSON: what the line sums"),
    "InvoiceDetailLastUpdated": (_I, "when the line was changed last"),
    "InvoiceIssueDate": (_I, "date of issue"),
    "InvoiceIssueStatus": (_T, "`Open`, `Issued`, `Voided`"),
    "PaymentCurrency": (_T, "currency of payment"),
    "PaymentCurrencyBilledCost": (_D, "the amount in the currency of payment"),
    "PaymentCurrencyInvoiceDetailId": (_T, "the line in the currency of payment"),
    "PaymentDueDate": (_I, "when payment is due"),
    "PaymentTerms": (_T, "terms of payment, `unknown` where the document does not tell"),
    "PurchaseOrderNumber": (_T, "purchase order"),
    "ReferenceInvoiceId": (_T, "the invoice that this one amends, else itself"),
}


def _fields(facts: dict[str, tuple[Type, str]]) -> tuple[Field, ...]:
    return tuple(Field(name, kind, doc) for name, (kind, doc) in sorted(facts.items()))


COST_AND_USAGE: tuple[Field, ...] = _fields(_BOTH | _COST_AND_USAGE)
"""The 65 columns of FOCUS 1.4 CostAndUsage."""

INVOICE_DETAIL: tuple[Field, ...] = _fields(_BOTH | _INVOICE_DETAIL)
"""The 22 columns of FOCUS 1.4 InvoiceDetail."""

BILLING_PERIOD = Field("billing_period", _T, "YYYY-MM of the billing period, by the issuer's calendar")
SNAPSHOT_ID = Field("snapshot_id", _T, "the snapshot of the period that counts: hash over its rows; "
                    "joins `core_bill_snapshot`")

BILLING_OWN: tuple[Field, ...] = (
    Field("x_ModelId", _T, "the model as priced, `gpt-4o-2024-08-06`; NULL where the line names none"),
    Field("x_UnitName", _T, "what is counted: a unit of the vocabulary, `uncached_input`, `output` ..."),
    Field("x_ServiceTier", _T, "`standard`, `batch`, `flex`, `priority`, `fast`, `provisioned`"),
    Field("x_Region", _T, "where it is priced: `global`, `us`, a region; NULL where the line does not tell"),
    Field("x_ContextTier", _T, "`standard`, `long`; NULL where the line does not tell"),
    Field("x_Day", Type.DAY, "UTC day of `ChargePeriodStart`; NULL where the line covers more than a day"),
    Field("x_MappingStatus", _T, "`mapped`; `unmapped`: usage of a model service whose line was not understood; "
          "`not_usage`: tax, credit, fee, purchase; `other_service`: no model service"),
    Field("x_ChargeKind", _T, "`usage`, `discount`, `credit`, `commitment_fee`, `commitment_drawdown`, "
          "`prepaid_credit`, `refund`, `tax`, `fee`, `rounding`, `adjustment`"),
    Field("x_ListCostBasis", _T, "`provider` where the bill tells the list cost, `assumed_billed` where it does not"),
    Field("x_CostBasis", _T, "`provider_billed`, `provider_estimated`, `computed`"),
    Field("x_BilledCostUsd", _D, "`BilledCost` in USD by the provider's own figure or rate; NULL where it tells none"),
    Field("x_BillingExchangeRate", _D, "the provider's rate: one USD in `BillingCurrency`"),
    Field("x_RequestCount", Type.COUNT, "requests behind the row, where the bill tells"),
    Field("x_ApiKeyId", _T, "key id, never the key"),
    Field("x_PrincipalId", _T, "user or role that caused it"),
    Field("x_Team", _T, "team, where the line's project or tags tell it"),
    Field("x_SourceRowId", _T, "unique within source and period: hash of the source's grouping keys, "
          "not of amounts"),
    Field("x_InputId", _T, "the input that told it; joins `core_input`"),
    Field("x_Line", Type.COUNT, "record number within the input, from 1"),
    Field("x_AsOf", _I, "when the snapshot was taken"),
    Field("x_ProviderColumns", _T, "JSON object: the provider's own `x_` and unknown columns, unchanged"),
)

INVOICE_OWN: tuple[Field, ...] = (
    Field("x_ChargeKind", _T, "kind of line: `usage`, `discount`, `credit`, `tax`, `rounding`, `amount_due` ..."),
    Field("x_DocumentType", _T, "`invoice`, `credit_note`, `receipt`, `credit_purchase`, `summary`"),
    Field("x_InvoiceTotal", _D, "total as printed on the document, in `BillingCurrency`"),
    Field("x_SellerName", _T, "seller, where it is not the issuer"),
    Field("x_AsOf", _I, "when the document was seen"),
    Field("x_InputId", _T, "the input that told it"),
    Field("x_Line", Type.COUNT, "record number within the input, from 1"),
)

SNAPSHOT_OWN: tuple[Field, ...] = (
    Field("status", _T, "`current`; `superseded` by a newer one; `refused` (empty or shrunk); `incomplete`; "
          "`late`: differs from a closed period"),
    Field("reason", _T, "why it is not current"),
    Field("as_of", _I, "when the provider or the pull wrote it"),
    Field("billing_currency", _T, "currency of `billed_cost`"),
    Field("row_count", Type.COUNT, "rows"),
    Field("billed_cost", _D, "sum of BilledCost"),
    Field("effective_cost", _D, "sum of EffectiveCost"),
    Field("unmapped_rows", Type.COUNT, "rows that were not understood"),
    Field("unmapped_cost", _D, "their BilledCost"),
    Field("first_day", Type.DAY, "first day charged"),
    Field("last_day", Type.DAY, "last day charged"),
    Field("uris", Type.TEXTS, "the inputs that told it"),
)
