#pragma once
#include "json_text.h"
#include "spnl/backends.h"

namespace spnl::host {

/// "text", "ids", "finish_reason" and "usage" as members of the object that is open.
void write_completion(JsonText& json, const Completion& done);

/// "ttft_s", "prefill_tok_s" and "decode_tok_s" likewise; null where nothing was measured.
void write_rates(JsonText& json, const Usage& usage);

}  // namespace spnl::host
