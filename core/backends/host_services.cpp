#include "backends/host_services.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

#include "backends/abi_check.h"
#include "hub/printable.h"
#include "spnl/backend.hpp"
#include "spnl/hub.h"

#ifndef SPNL_VERSION
#define SPNL_VERSION "0.1.0"
#endif

namespace spnl::backends {

namespace {

/// Stands right before what allocate() hands out.
struct Header {
  uint64_t bytes;
  uint64_t offset;  ///< from the block's start to what was handed out
};

spnl_status status_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::kNotFound:
      return SPNL_NOT_FOUND;
    case ErrorCode::kUsage:
    case ErrorCode::kBadQuery:
      return SPNL_INVALID;
    case ErrorCode::kUnsupported:
      return SPNL_UNSUPPORTED;
    case ErrorCode::kInterrupted:
      return SPNL_CANCELLED;
    default:
      return SPNL_INTERNAL;
  }
}

}  // namespace

/// The C functions of the table: nothing is thrown across.
struct HostServices::Calls {
  static HostServices& of(void* self) { return *static_cast<HostServices*>(self); }

  static void log(void* self, int32_t level, spnl_str component, spnl_str text) {
    abi::guard(nullptr, [&] { of(self).log(level, text_of(component), text_of(text)); });
  }

  static spnl_status config(void* self, spnl_str key, const spnl_sink* value) {
    return abi::guard(nullptr, [&]() -> spnl_status {
      if (value == nullptr || value->write == nullptr) return SPNL_INVALID;
      const auto found = of(self).setting(std::string(text_of(key)));
      if (!found) return SPNL_NOT_FOUND;
      abi::write(*value, found->data(), found->size());
      return SPNL_OK;
    });
  }

  static int32_t progress(void* self, uint64_t op, spnl_str stage, uint64_t done, uint64_t total) {
    abi::guard(nullptr, [&] {
      const auto& report = of(self).context_.options.progress;
      if (report) report(text_of(stage), done, total);
    });
    return cancelled(self, op);
  }

  static int32_t cancelled(void* self, uint64_t op) {
    int32_t stop = 0;
    abi::guard(nullptr, [&] {
      const auto operation = of(self).context_.operations.find(op);
      stop = operation != nullptr && operation->cancelled ? 1 : 0;
    });
    return stop;
  }

  static void* alloc(void* self, uint64_t bytes, uint64_t align) {
    return of(self).allocate(bytes, align);
  }
  static void release(void* self, void* pointer) { of(self).release(pointer); }

  static spnl_status resolve(void* self, uint64_t op, spnl_str model, spnl_str glob,
                             const spnl_file_sink* files, spnl_error* error) {
    return abi::guard(error, [&]() -> spnl_status {
      if (files == nullptr || files->file == nullptr)
        return abi::fail(error, SPNL_INVALID, "resolve: no file sink");
      return of(self).resolve(op, text_of(model), text_of(glob), *files, error);
    });
  }

  static const void* extension(void*, const char*) { return nullptr; }
};

HostServices::HostServices(HostContext context, std::string backend_id)
    : context_(std::move(context)), backend_id_(std::move(backend_id)) {
  table_.struct_size = sizeof table_;
  table_.abi_minor = SPNL_ABI_MINOR;
  table_.self = this;
  table_.name = abi::str("spnl");
  table_.version = abi::str(SPNL_VERSION);
  table_.log = Calls::log;
  table_.config = Calls::config;
  table_.progress = Calls::progress;
  table_.cancelled = Calls::cancelled;
  table_.alloc = Calls::alloc;
  table_.release = Calls::release;
  table_.resolve = Calls::resolve;
  table_.extension = Calls::extension;
}

std::optional<std::string> HostServices::setting(const std::string& key) const {
  const auto set = context_.options.config.find(key);
  if (set != context_.options.config.end()) return set->second;
  const bool ours =
      key.starts_with("SPNL_") || key.starts_with("MISTRALRS_") || key.starts_with("HF_");
  if (!ours || key.find('\0') != key.npos || !context_.environment) return std::nullopt;
  return context_.environment(key.c_str());
}

void HostServices::log(int32_t level, std::string_view component, std::string_view text) const {
  if (!context_.options.log || level < SPNL_LOG_DEBUG || level > SPNL_LOG_ERROR) return;
  const std::string from = component.empty() ? backend_id_ : hub::printable(component, 80);
  context_.options.log(static_cast<LogLevel>(level), from, hub::printable(text, 4000));
}

spnl_status HostServices::resolve(uint64_t op, std::string_view model, std::string_view glob,
                                  const spnl_file_sink& files, spnl_error* error) const {
  const auto environment = [this](const char* name) {
    // HOME leads to the default cache; it is no setting of ours.
    return std::string_view(name) == "HOME" && context_.environment ? context_.environment(name)
                                                                    : setting(name);
  };
  try {
    for (const hub::ModelFile& file :
         hub::resolve(hub::parse_model_name(std::string(model)), glob, environment)) {
      const std::string path = file.path.string();
      if (files.file(files.user, abi::str(file.name), abi::str(path), file.bytes) != SPNL_OK)
        return abi::fail(error, SPNL_CANCELLED, "the receiver of the files stopped");
    }
    return SPNL_OK;
  } catch (const Error& failure) {
    if (const auto operation = context_.operations.find(op)) {
      const std::lock_guard lock(operation->mutex);
      operation->resolve_error.emplace(failure);
    }
    return abi::fail(error, status_of(failure.code()), failure.what());
  }
}

void* HostServices::allocate(uint64_t bytes, uint64_t align) {
  constexpr uint64_t kMaxAlign = uint64_t{1} << 30, kMaxBytes = uint64_t{1} << 46;
  if ((align & (align - 1)) != 0 || align > kMaxAlign || bytes > kMaxBytes) return nullptr;
  align = std::max<uint64_t>(align, alignof(std::max_align_t));
  const uint64_t offset = (sizeof(Header) + align - 1) / align * align;
  // aligned_alloc asks for whole multiples of the alignment.
  const uint64_t size = (offset + bytes + align - 1) / align * align;
  char* block = static_cast<char*>(std::aligned_alloc(align, size));
  if (block == nullptr) return nullptr;
  const Header header{bytes, offset};
  std::memcpy(block + offset - sizeof header, &header, sizeof header);
  allocated_.fetch_add(bytes, std::memory_order_relaxed);
  return block + offset;
}

void HostServices::release(void* pointer) {
  if (pointer == nullptr) return;
  Header header;
  std::memcpy(&header, static_cast<char*>(pointer) - sizeof header, sizeof header);
  allocated_.fetch_sub(header.bytes, std::memory_order_relaxed);
  std::free(static_cast<char*>(pointer) - header.offset);
}

}  // namespace spnl::backends
