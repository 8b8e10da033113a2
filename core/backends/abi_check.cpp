#include "backends/abi_check.h"

#include <cstring>
#include <iterator>

#include "hub/printable.h"

namespace spnl::backends {

namespace {

struct Slot {
  const char* name;
  size_t offset;
};

#define SPNL_SLOT(field) \
  Slot { #field, offsetof(spnl_backend, field) }
constexpr Slot kSlots[] = {
    SPNL_SLOT(descriptor),   SPNL_SLOT(open),          SPNL_SLOT(close),    SPNL_SLOT(model_load),
    SPNL_SLOT(model_unload), SPNL_SLOT(model_info),    SPNL_SLOT(tokenize), SPNL_SLOT(detokenize),
    SPNL_SLOT(render),       SPNL_SLOT(session_open),  SPNL_SLOT(submit),   SPNL_SLOT(step),
    SPNL_SLOT(cancel),       SPNL_SLOT(session_close), SPNL_SLOT(stats),    SPNL_SLOT(extension)};
#undef SPNL_SLOT
static_assert(sizeof(void*) == sizeof(&spnl_backend_v1));
static_assert(std::size(kSlots) * sizeof(void*) + offsetof(spnl_backend, descriptor) ==
              kMinBackend);

struct Capability {
  std::string_view word;
  uint64_t bit;
};

constexpr Capability kCapabilities[] = {
    {"bulk_map", SPNL_CAP_BULK_MAP},
    {"bulk_repeat", SPNL_CAP_BULK_REPEAT},
    {"spans", SPNL_CAP_SPANS},
    {"tools", SPNL_CAP_TOOLS},
    {"vision", SPNL_CAP_VISION},
    {"grammar", SPNL_CAP_GRAMMAR},
    {"embed", SPNL_CAP_EMBED},
    {"unloadable", SPNL_CAP_UNLOADABLE},
    {"batch_invariant", SPNL_CAP_BATCH_INVARIANT},
    {"commutative", SPNL_CAP_COMMUTATIVE},
};

}  // namespace

std::string table_problem(const spnl_backend* table) {
  if (table == nullptr) return SPNL_ENTRY_SYMBOL "() returned no table";
  if (table->struct_size < kMinBackend)
    return "its table has " + std::to_string(table->struct_size) + " bytes, at least " +
           std::to_string(kMinBackend) + " are needed";
  for (const Slot& slot : kSlots) {
    void* pointer = nullptr;
    std::memcpy(&pointer, reinterpret_cast<const char*>(table) + slot.offset, sizeof pointer);
    if (pointer == nullptr) return std::string("its table holds no ") + slot.name;
  }
  const spnl_descriptor& descriptor = *table->descriptor;
  if (descriptor.struct_size < kMinDescriptor)
    return "its descriptor has " + std::to_string(descriptor.struct_size) + " bytes, at least " +
           std::to_string(kMinDescriptor) + " are needed";
  if (descriptor.minor_needed > SPNL_ABI_MINOR)
    return "needs ABI 1." + std::to_string(descriptor.minor_needed) + " (built for 1." +
           std::to_string(descriptor.minor_built) + "), this host speaks 1." +
           std::to_string(SPNL_ABI_MINOR) + "; use a newer host or an older backend";
  return "";
}

std::vector<std::string> capability_words(uint64_t bits) {
  std::vector<std::string> out;
  for (const Capability& capability : kCapabilities)
    if ((bits & capability.bit) != 0) out.emplace_back(capability.word);
  return out;
}

uint64_t capability_bits(const std::vector<std::string>& words) {
  uint64_t bits = 0;
  for (const Capability& capability : kCapabilities)
    for (const std::string& word : words)
      if (word == capability.word) bits |= capability.bit;
  return bits;
}

std::string_view text_of(spnl_str text) {
  return text.data == nullptr ? std::string_view()
                              : std::string_view(text.data, static_cast<size_t>(text.len));
}

std::string_view status_text(spnl_status status) {
  switch (status) {
    case SPNL_OK:
      return "ok";
    case SPNL_INVALID:
      return "invalid request";
    case SPNL_NOT_FOUND:
      return "not found";
    case SPNL_UNSUPPORTED:
      return "not supported";
    case SPNL_CANCELLED:
      return "cancelled";
    case SPNL_NO_MEMORY:
      return "out of memory";
    case SPNL_BUSY:
      return "busy";
    case SPNL_IO:
      return "reading or writing failed";
    case SPNL_CORRUPT:
      return "the file is damaged";
    default:
      return "internal error";
  }
}

std::string failure_text(spnl_status status, const spnl_error& error) {
  const size_t n = strnlen(error.message, sizeof error.message);
  return n > 0 ? hub::printable({error.message, n}, 600) : std::string(status_text(status));
}

}  // namespace spnl::backends
