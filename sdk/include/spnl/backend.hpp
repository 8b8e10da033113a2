#pragma once
/// Thin C++ glue over spnl/backend.h, header-only: strings, errors, guard. Depends on the C++17
/// library alone.
#include <cstdio>
#include <cstring>
#include <exception>
#include <new>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>

#include "spnl/backend.h"

namespace spnl::abi {

inline spnl_str str(std::string_view text) { return {text.data(), text.size()}; }
inline std::string_view view(spnl_str text) {
  return text.len == 0 ? std::string_view()
                       : std::string_view(text.data, static_cast<size_t>(text.len));
}

/// A failure with its status, for code behind guard().
class Failure : public std::runtime_error {
 public:
  Failure(spnl_status status, const std::string& what)
      : std::runtime_error(what), status_(status) {}
  spnl_status status() const noexcept { return status_; }

 private:
  spnl_status status_;
};

/// Fills the caller's error (which may be null) and returns its status. The text is cut at a UTF-8
/// character's border.
inline spnl_status fail(spnl_error* error, spnl_status status, std::string_view text) noexcept {
  if (error != nullptr && error->struct_size >= sizeof(spnl_error)) {
    size_t n = text.size() < sizeof(error->message) - 1 ? text.size() : sizeof(error->message) - 1;
    if (n < text.size())
      while (n > 0 && (static_cast<unsigned char>(text[n]) & 0xC0) == 0x80) --n;
    error->code = status;
    std::memcpy(error->message, text.data(), n);
    error->message[n] = '\0';
  }
  return status;
}

/// How exceptions of the plugin's own libraries become statuses: specialise by passing a translator
/// to guard().
struct NoTranslation {
  spnl_status operator()(const std::exception&) const noexcept { return SPNL_INTERNAL; }
};

/// Runs `body` (returning void or spnl_status) so that no exception crosses the ABI. `translate`
/// maps a std::exception that is neither Failure nor bad_alloc to a status.
template <class Body, class Translate = NoTranslation>
spnl_status guard(spnl_error* error, Body&& body, Translate translate = {}) noexcept {
  try {
    if constexpr (std::is_void_v<decltype(body())>) {
      body();
      return SPNL_OK;
    } else {
      return body();
    }
  } catch (const Failure& failure) {
    return fail(error, failure.status(), failure.what());
  } catch (const std::bad_alloc&) {
    return fail(error, SPNL_NO_MEMORY, "out of memory");
  } catch (const std::exception& e) {
    return fail(error, translate(e), e.what());
  } catch (...) {
    return fail(error, SPNL_INTERNAL, "unknown exception");
  }
}

/// Smallest legal struct_size of the structs that a backend receives: what they were at minor 0.
/// Written down, because it must not move when the structs grow (64-bit layout; see
/// tests/abi/layout_golden.txt).
template <class T>
inline constexpr uint32_t kLeastSize = 0;
template <>
inline constexpr uint32_t kLeastSize<spnl_sink> = 24;
template <>
inline constexpr uint32_t kLeastSize<spnl_file_sink> = 24;
template <>
inline constexpr uint32_t kLeastSize<spnl_host> = 112;
template <>
inline constexpr uint32_t kLeastSize<spnl_load> = 88;
template <>
inline constexpr uint32_t kLeastSize<spnl_model_info> = 104;
template <>
inline constexpr uint32_t kLeastSize<spnl_fragment> = 96;
template <>
inline constexpr uint32_t kLeastSize<spnl_prompt> = 40;
template <>
inline constexpr uint32_t kLeastSize<spnl_sampling> = 72;
template <>
inline constexpr uint32_t kLeastSize<spnl_request> = 80;
template <>
inline constexpr uint32_t kLeastSize<spnl_events> = 24;
template <>
inline constexpr uint32_t kLeastSize<spnl_stats> = 96;

/// The struct again, when it is there and as large as it must be; else Failure(SPNL_INVALID).
template <class T>
T& require(T* pointer, const char* name) {
  static_assert(kLeastSize<std::remove_const_t<T>> != 0);
  if (pointer == nullptr) throw Failure(SPNL_INVALID, std::string(name) + " is NULL");
  if (pointer->struct_size < kLeastSize<std::remove_const_t<T>>)
    throw Failure(SPNL_INVALID, std::string(name) + ": struct_size " +
                                    std::to_string(pointer->struct_size) + " is below the " +
                                    std::to_string(kLeastSize<std::remove_const_t<T>>) +
                                    " bytes of the first version");
  return *pointer;
}

/// Fills a struct of the caller's, as far as both sides know it.
template <class T>
void answer(T& out, T value) {
  value.struct_size =
      out.struct_size < sizeof(T) ? out.struct_size : static_cast<uint32_t>(sizeof(T));
  std::memcpy(static_cast<void*>(&out), &value, value.struct_size);
}

/// Writes all of `bytes` to a sink; throws Failure(SPNL_CANCELLED) when the sink stops.
inline void write(const spnl_sink& sink, const void* bytes, uint64_t n) {
  if (n > 0 && sink.write(sink.user, bytes, n) != SPNL_OK)
    throw Failure(SPNL_CANCELLED, "the receiver stopped");
}

/// A sink that appends to a std::string, for callers of sink-taking functions.
inline spnl_sink string_sink(std::string& out) {
  spnl_sink sink{};
  sink.struct_size = sizeof sink;
  sink.user = &out;
  sink.write = [](void* user, const void* bytes, uint64_t n) -> spnl_status {
    try {
      static_cast<std::string*>(user)->append(static_cast<const char*>(bytes),
                                              static_cast<size_t>(n));
      return SPNL_OK;
    } catch (...) {
      return SPNL_NO_MEMORY;
    }
  };
  return sink;
}

/// Is a sampling field set?
inline bool has(const spnl_sampling* sampling, uint64_t bit) {
  return sampling != nullptr && (sampling->set & bit) != 0;
}

/// Failure(SPNL_UNSUPPORTED) when fields are set beyond `known`, or beyond what the struct holds.
inline void refuse_unknown_fields(const spnl_sampling& sampling, uint64_t known) {
  if ((sampling.set & ~known) != 0)
    throw Failure(SPNL_UNSUPPORTED, "the request sets a sampling option that this backend lacks");
  if ((sampling.set >> 11) != 0 && !SPNL_HAS(spnl_sampling, &sampling, dry_breakers))
    throw Failure(SPNL_INVALID, "sampling: struct_size is too small for the fields that are set");
}

}  // namespace spnl::abi
