// 10,000 seeded mutations of a small model's header: each is read or refused with an Error, without
// a large allocation.
#include <atomic>
#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <new>
#include <random>

#include "gguf_builder.h"
#include "spnl/modelkit/error.h"
#include "spnl/modelkit/gguf.h"
#include "spnl/modelkit/model_bundle.h"
#include "spnl/modelkit/model_spec.h"

using namespace spnl::test;

namespace {
std::atomic<size_t> largest{0};
}

// Not inlined: the compiler would take malloc and delete for a mismatched pair.
[[gnu::noinline]] void* operator new(size_t bytes) {
  size_t seen = largest.load();
  while (bytes > seen && !largest.compare_exchange_weak(seen, bytes)) {
  }
  void* memory = std::malloc(bytes == 0 ? 1 : bytes);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
// All forms together, or a sanitizer sees memory of its own come back through ours.
[[gnu::noinline]] void* operator new(size_t bytes, const std::nothrow_t&) noexcept {
  return std::malloc(bytes == 0 ? 1 : bytes);
}
[[gnu::noinline]] void operator delete(void* memory, const std::nothrow_t&) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, size_t) noexcept { std::free(memory); }

namespace {

using Random = std::mt19937_64;

void mutate(std::string& bytes, size_t header, Random& random) {
  const auto below = [&](uint64_t n) { return random() % n; };
  const uint64_t changes = 1 + below(4);
  for (uint64_t i = 0; i < changes; ++i) {
    const size_t at = below(header);
    switch (below(6)) {
      case 0:
        bytes[at] = static_cast<char>(below(256));
        break;
      case 1:
        bytes[at] = static_cast<char>(bytes[at] ^ (1 << below(8)));
        break;
      case 2:  // a whole number: large, negative, or small
        if (at + 8 <= bytes.size()) {
          const uint64_t numbers[] = {
              0,          1,           UINT64_MAX, uint64_t{1} << 62, uint64_t{1} << 32,
              0x7FFFFFFF, below(1000), random()};
          std::memcpy(&bytes[at], &numbers[below(8)], below(2) == 0 ? 8 : 4);
        }
        break;
      case 3:
        bytes.resize(std::max<size_t>(at, 1));
        return;
      case 4:
        bytes.erase(at, 1 + below(16));
        break;
      default:
        bytes.insert(at, std::string(1 + below(16), static_cast<char>(below(256))));
        break;
    }
    header = std::min(header, bytes.size());
    if (header == 0) return;
  }
}

}  // namespace

BOOST_AUTO_TEST_CASE(ten_thousand_mutated_headers) {
  GgufBuilder gguf = tiny_llama();
  gguf.string("tokenizer.chat_template", "{% for m in messages %}{{ m.content }}{% endfor %}");
  const std::string whole = gguf.bytes();
  const size_t header = gguf.header().size();
  const TempDir dir;
  Random random(20240607);
  int accepted = 0, refused = 0;
  volatile unsigned touched = 0;
  largest = 0;
  for (int i = 0; i < 10000; ++i) {
    std::string bytes = whole;
    mutate(bytes, header, random);
    const auto path = dir.write("m.gguf", bytes);
    try {
      const auto bundle = spnl::modelkit::open_model(path, {.vocab_only = i % 4 == 0});
      // What was accepted can be read to its last byte.
      for (const auto& tensor : bundle.tensors->tensors())
        touched = touched + static_cast<unsigned>(tensor.data[tensor.bytes - 1]);
      ++accepted;
    } catch (const spnl::modelkit::Error& error) {
      BOOST_TEST_REQUIRE(std::string_view(error.what()).find('\n') == std::string_view::npos,
                         error.what());
      ++refused;
    }
  }
  BOOST_TEST(accepted + refused == 10000);
  BOOST_TEST(accepted > 100);
  BOOST_TEST(refused > 1000);
  BOOST_TEST(largest.load() < (size_t{8} << 20));
  BOOST_TEST_MESSAGE("accepted " << accepted << ", refused " << refused << ", largest allocation "
                                 << largest.load());
}
