#include "engine/settings.h"

#include <sched.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <fstream>
#include <set>

#include "spnl/modelkit/error.h"
#include "spnl/modelkit/quantize_isq.h"

namespace spnl::mistralrs {
namespace {

using modelkit::Error;
using modelkit::ErrorCode;

constexpr int64_t kMaxThreads = 1024;
constexpr int64_t kMaxBlockSize = 1024;
constexpr int64_t kMaxPrefixEntries = 1'000'000;

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  return out;
}

[[noreturn]] void refuse(std::string_view key, std::string_view value, std::string_view allowed) {
  throw Error(ErrorCode::kInvalid, std::string(key) + "=" + std::string(value) +
                                       " is not understood; use " + std::string(allowed));
}

std::optional<bool> as_bool(std::string_view value) {
  const std::string v = lower(value);
  if (v == "true" || v == "1" || v == "on" || v == "yes") return true;
  if (v == "false" || v == "0" || v == "off" || v == "no") return false;
  return std::nullopt;
}

int64_t as_int(std::string_view key, std::string_view value, int64_t low, int64_t high) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (error != std::errc() || end != value.data() + value.size() || number < low || number > high)
    refuse(key, value,
           "a whole number from " + std::to_string(low) + " to " + std::to_string(high));
  return number;
}

uint64_t as_bytes(std::string_view key, std::string_view value) {
  uint64_t number = 0;
  const char* last = value.data() + value.size();
  const auto [end, error] = std::from_chars(value.data(), last, number);
  const std::string unit = lower(std::string_view(end, static_cast<size_t>(last - end)));
  int shift = -1;
  if (unit.empty() || unit == "b") shift = 0;
  if (unit == "k" || unit == "kb" || unit == "kib") shift = 10;
  if (unit == "m" || unit == "mb" || unit == "mib") shift = 20;
  if (unit == "g" || unit == "gb" || unit == "gib") shift = 30;
  if (error != std::errc() || shift < 0 || number > (UINT64_MAX >> 16 >> shift))
    refuse(key, value, "bytes, or a number with K, M or G");
  return number << shift;
}

std::optional<cpu::KvType> as_kv_type(std::string_view value) {
  const std::string v = lower(value);
  if (v == "auto") return std::nullopt;
  if (v == "f32") return cpu::KvType::kF32;
  if (v == "f16") return cpu::KvType::kF16;
  if (v == "bf16") return cpu::KvType::kBF16;
  if (v == "q8_0") return cpu::KvType::kQ8_0;
  refuse("kv_type", value, "auto, f32, f16, bf16 or q8_0");
}

Speculate as_speculate(std::string_view value) {
  const std::string v = lower(value);
  if (v == "off") return Speculate::kOff;
  if (v == "ngram") return Speculate::kNgram;
  if (v == "auto") return Speculate::kAuto;
  refuse("speculate", value, "off, ngram or auto");
}

}  // namespace

Settings read_settings(const Lookup& lookup) {
  Settings s;
  s.threads = physical_cores();
  if (const auto v = lookup("MISTRALRS_DEVICE")) check_device(*v);
  if (const auto v = lookup("MISTRALRS_CPU_ISA"); v && *v != "auto") s.isa = *v;
  if (const auto v = lookup("threads"); v && *v != "0" && *v != "auto" && !v->empty())
    s.threads = static_cast<int>(as_int("threads", *v, 1, kMaxThreads));
  if (const auto v = lookup("MISTRALRS_PAGED_ATTN")) {
    const auto paged = as_bool(*v);
    if (!paged) refuse("MISTRALRS_PAGED_ATTN", *v, "true or false");
    s.paged = *paged;
  }
  if (const auto v = lookup("MISTRALRS_PAGED_ATTN_BLOCK_SIZE"))
    s.block_size =
        static_cast<int32_t>(as_int("MISTRALRS_PAGED_ATTN_BLOCK_SIZE", *v, 1, kMaxBlockSize));
  if (const auto v = lookup("MISTRALRS_PREFIX_CACHE_N")) {
    const std::string word = lower(*v);
    const bool off = word == "false" || word == "off" || word == "no";
    s.prefix_entries =
        off ? 0 : static_cast<size_t>(as_int("MISTRALRS_PREFIX_CACHE_N", *v, 0, kMaxPrefixEntries));
  }
  if (const auto v = lookup("MISTRALRS_ISQ"); v && !v->empty()) s.isq = modelkit::parse_isq(*v);
  if (const auto v = lookup("kv_type")) s.kv_type = as_kv_type(*v);
  if (const auto v = lookup("speculate")) s.speculate = as_speculate(*v);
  if (const auto v = lookup("kv_memory")) s.kv_bytes = as_bytes("kv_memory", *v);
  if (const auto v = lookup("span_cache")) s.disk.folder = *v;
  if (const auto v = lookup("span_cache_size")) s.disk.max_bytes = as_bytes("span_cache_size", *v);
  return s;
}

void check_device(std::string_view device) {
  const std::string d = lower(device);
  if (d.empty() || d == "auto" || d == "cpu") return;
  if (d == "cuda" || d == "metal")
    throw Error(ErrorCode::kUnsupported,
                "device " + d + ": this build runs on the CPU; use the device cpu or auto");
  refuse("device", device, "auto, cpu, cuda or metal");
}

int physical_cores() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return 1;
  std::set<std::string> cores;  // one name per core: the list of its hyper-threads
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed)) continue;
    std::ifstream file("/sys/devices/system/cpu/cpu" + std::to_string(cpu) +
                       "/topology/thread_siblings_list");
    std::string siblings;
    if (!std::getline(file, siblings)) siblings = std::to_string(cpu);
    cores.insert(siblings);
  }
  return std::max(1, static_cast<int>(cores.size()));
}

namespace {

/// What a container may still take (cgroup v2); no limit where there is none.
uint64_t container_memory() {
  uint64_t limit = 0, used = 0;
  if (!(std::ifstream("/sys/fs/cgroup/memory.max") >> limit)) return UINT64_MAX;  // "max"
  if (!(std::ifstream("/sys/fs/cgroup/memory.current") >> used)) return UINT64_MAX;
  return limit > used ? limit - used : 0;
}

}  // namespace

uint64_t available_memory() {
  std::ifstream file("/proc/meminfo");
  std::string name, unit;
  uint64_t kib = 0;
  while (file >> name >> kib) {
    std::getline(file, unit);
    if (name == "MemAvailable:") return std::min(kib << 10, container_memory());
  }
  return 0;
}

}  // namespace spnl::mistralrs
