#include <boost/test/unit_test.hpp>
#include <cstring>
#include <numeric>

#include "attention_oracle.h"

using namespace spnl::mistralrs::cpu;
using namespace spnl::test;

namespace {

bool same_bits(const std::vector<float>& a, const float* b) {
  return std::memcmp(a.data(), b, a.size() * 4) == 0;
}

AttentionShape grouped() {
  AttentionShape shape;
  shape.heads = 6;
  shape.head_dim = 48;
  shape.rotary_pairs = 24;
  shape.type = KvType::kF16;
  return shape;
}

AttentionShape windowed_with_sinks() {
  AttentionShape shape = grouped();
  shape.window = 100;
  shape.sinks = true;
  return shape;
}

AttentionShape quantised() {
  AttentionShape shape = grouped();
  shape.head_dim = 64;
  shape.type = KvType::kQ8_0;
  return shape;
}

AttentionShape latent() {
  AttentionShape shape = grouped();
  shape.heads = 20;
  shape.kv_heads = 1;
  shape.rotary_pairs = 8;
  shape.value_dim = shape.first_dim = 32;
  shape.shares_values = true;
  return shape;
}

}  // namespace

// What lets a cached prefix, a chunked prompt and a batch give the very tokens of a run alone.
BOOST_AUTO_TEST_CASE(bits_do_not_depend_on_batch_chunks_or_threads) {
  for (Isa isa : supported_isas()) {
    for (const AttentionShape& shape : {grouped(), windowed_with_sinks(), quantised(), latent()}) {
      AttentionCase c(shape, 3);
      std::vector<int32_t> prompt(150);
      std::iota(prompt.begin(), prompt.end(), 600);
      c.add_sequence(isa, {{0, 600, 0, 0}, {0, 150, 0, 600}}, prompt);
      c.add_sequence(isa, {{0, 1200, 0, 0}, {4, 77, 9, 1191}}, {1272});
      const std::vector<float> whole = c.run(isa, 1);
      for (int threads : {2, 3}) BOOST_TEST(same_bits(c.run(isa, threads), whole.data()));
      for (auto [first, count] :
           {std::pair{0, 1}, {17, 1}, {149, 1}, {0, 37}, {64, 50}, {3, 100}}) {
        BOOST_TEST(same_bits(c.run_part(isa, 2, 0, first, count), whole.data() + first * c.width()),
                   isa_name(isa) << " rows " << first << " + " << count);
      }
      for (int threads : {1, 2, 3}) {
        BOOST_TEST(same_bits(c.run_part(isa, threads, 1, 0, 1), whole.data() + 150 * c.width()),
                   isa_name(isa) << " decode, threads " << threads);
      }
    }
  }
}

// Several sequences that decode: a thread does one while it asks for the keys of another, which may
// have fewer, or none at all.
BOOST_AUTO_TEST_CASE(sequences_that_decode_together_have_the_bits_of_each_alone) {
  for (Isa isa : supported_isas()) {
    for (const AttentionShape& shape : {grouped(), windowed_with_sinks(), quantised(), latent()}) {
      AttentionCase c(shape, 4);
      c.add_sequence(isa, {{0, 1, 0, 0}}, {0});
      c.add_sequence(isa, {{0, 40, 0, 0}}, {39});
      c.add_sequence(isa, {{5, 5, 0, 0}, {0, 100, 0, 0}, {3, 3, 0, 0}}, {99});
      c.add_sequence(isa, {}, {7});
      c.add_sequence(isa, {{0, 300, 0, 0}, {2, 20, 5, 295}}, {317});
      c.add_sequence(isa, {{9, 9, 0, 0}}, {7});
      c.add_sequence(isa, {{0, 64, 0, 0}}, {63});
      c.add_sequence(isa, {{0, 513, 0, 0}}, {512});
      const std::vector<float> alone = [&] {
        std::vector<float> all;
        for (size_t i = 0; i < static_cast<size_t>(c.rows()); ++i) {
          const std::vector<float> one = c.run_part(isa, 1, i, 0, 1);
          all.insert(all.end(), one.begin(), one.end());
        }
        return all;
      }();
      for (int threads : {1, 2, 3, 16})
        BOOST_TEST(same_bits(c.run(isa, threads), alone.data()), isa_name(isa)
                                                                     << " threads " << threads);
    }
  }
}
