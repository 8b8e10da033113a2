#include <boost/test/unit_test.hpp>
#include <cmath>
#include <numeric>
#include <tuple>

#include "attention_oracle.h"

using namespace spnl::mistralrs::cpu;
using namespace spnl::test;

namespace {

std::vector<int32_t> range(int first, int last) {
  std::vector<int32_t> v(static_cast<size_t>(last - first));
  std::iota(v.begin(), v.end(), first);
  return v;
}

/// Keys and values are rounded to the cache's type: 2^-11 for f16, 2^-8 for bf16, of values up to
/// about 4; q8_0: by up to 1/254 of the largest of 32.
double tolerance(KvType type) {
  if (type == KvType::kQ8_0) return 4e-2;
  return type == KvType::kF32 ? 3e-5 : type == KvType::kF16 ? 3e-3 : 2.5e-2;
}

void compare(const AttentionCase& c, const AttentionShape& shape, Isa isa, int threads) {
  const std::vector<double> want = c.expected();
  const std::vector<float> got = c.run(isa, threads);
  double worst = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    const double error = std::fabs(got[i] - want[i]);
    worst = std::isnan(error) ? INFINITY : std::max(worst, error);
  }
  BOOST_TEST(worst < tolerance(shape.type) * shape.magnitude * shape.magnitude,
             isa_name(isa) << ": dim " << shape.head_dim << " pairs " << shape.rotary_pairs
                           << " type " << static_cast<int>(shape.type) << " worst " << worst);
}

/// A prompt, a decoding row, a query over several spans that were cached elsewhere, rows that see
/// nothing.
void check(const AttentionShape& shape, uint32_t seed) {
  for (Isa isa : supported_isas()) {
    AttentionCase c(shape, seed);
    c.add_sequence(isa, {{0, 75, 0, 0}}, range(0, 75));
    c.add_sequence(isa, {{0, 130, 0, 0}}, {129});
    c.add_sequence(isa, {{0, 20, 0, 0}, {3, 90, 5, 15}, {16, 40, 0, 107}, {2, 9, 300, -169}},
                   range(129, 138));
    c.add_sequence(isa, {{0, 10, 50, 0}}, range(47, 53));
    c.add_sequence(isa, {}, {4});
    compare(c, shape, isa, 2);
  }
}

AttentionShape shape_with(int heads, int kv_heads, int dim, int pairs) {
  AttentionShape s;
  s.heads = heads;
  s.kv_heads = kv_heads;
  s.head_dim = dim;
  s.rotary_pairs = pairs;
  return s;
}

}  // namespace

BOOST_AUTO_TEST_CASE(head_layouts) {
  check(shape_with(9, 3, 64, 32), 1);
  check(shape_with(4, 4, 16, 8), 2);
  check(shape_with(8, 1, 128, 64), 3);
  check(shape_with(2, 1, 256, 128), 4);
}

BOOST_AUTO_TEST_CASE(odd_and_partly_rotated_heads) {
  check(shape_with(4, 2, 64, 16), 5);
  check(shape_with(3, 1, 10, 5), 6);
  check(shape_with(2, 2, 2, 1), 7);
  check(shape_with(4, 2, 80, 10), 8);
  check(shape_with(4, 2, 36, 18), 9);
  check(shape_with(4, 2, 32, 0), 10);
}

BOOST_AUTO_TEST_CASE(cache_types_and_rope_kinds) {
  for (KvType type : {KvType::kF32, KvType::kF16, KvType::kBF16}) {
    for (RopeKind kind : {RopeKind::kHalfSplit, RopeKind::kInterleaved}) {
      for (int dim : {64, 20}) {
        AttentionShape s = shape_with(6, 2, dim, dim / 2);
        s.type = type;
        s.kind = kind;
        s.block_size = 32;
        check(s, 11);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(window_softcap_and_magnitude) {
  AttentionShape s;
  s.window = 33;
  check(s, 12);
  s.window = 1;
  check(s, 13);
  s.window = 0;
  s.softcap = 3.0f;
  check(s, 14);
  s.softcap = 0;
  s.magnitude = 1.2;
  check(s, 15);
}

BOOST_AUTO_TEST_CASE(sinks_and_partial_rotation_from_any_dimension) {
  AttentionShape s = shape_with(6, 2, 64, 16);
  s.sinks = true;
  check(s, 18);
  s.window = 20;
  check(s, 19);
  s.first_dim = 32;
  s.kind = RopeKind::kInterleaved;
  check(s, 20);
}

BOOST_AUTO_TEST_CASE(values_of_another_length_and_rows_of_both_frequencies) {
  AttentionShape s = shape_with(4, 2, 64, 32);
  s.value_dim = 24;
  check(s, 21);
  s.value_dim = 96;
  s.type = KvType::kF16;
  s.long_rope = true;
  check(s, 22);
}

// Latent attention: one key row for all heads, whose values are its first part.
BOOST_AUTO_TEST_CASE(values_inside_their_keys) {
  for (const int heads : {4, 20, 40}) {
    AttentionShape s = shape_with(heads, 1, 80, 8);
    s.value_dim = s.first_dim = 64;
    s.shares_values = true;
    s.kind = RopeKind::kInterleaved;
    check(s, 23);
    s.type = KvType::kF16;
    s.long_rope = true;
    check(s, 24);
  }
  AttentionShape odd = shape_with(20, 1, 42, 3);
  odd.value_dim = odd.first_dim = 36;
  odd.shares_values = true;
  check(odd, 25);
}

BOOST_AUTO_TEST_CASE(long_runs_by_one_and_by_many_threads) {
  AttentionShape s = shape_with(6, 2, 32, 16);
  for (Isa isa : supported_isas()) {
    AttentionCase c(s, 16);
    c.add_sequence(isa, {{0, 700, 0, 0}, {5, 1300, 0, 700}}, {1994});
    compare(c, s, isa, 1);
    compare(c, s, isa, 3);
  }
}

BOOST_AUTO_TEST_CASE(keys_and_values_in_blocks_of_bytes) {
  for (const auto& [heads, kv_heads, dim] :
       {std::tuple{9, 3, 64}, {8, 1, 128}, {4, 4, 32}, {2, 1, 96}, {2, 1, 256}}) {
    AttentionShape s = shape_with(heads, kv_heads, dim, dim / 2);
    s.type = KvType::kQ8_0;
    check(s, 26);
    s.window = 33;
    s.kind = RopeKind::kInterleaved;
    check(s, 27);
    s.value_dim = 160;
    check(s, 28);
  }
  AttentionShape latent = shape_with(20, 1, 96, 8);
  latent.value_dim = latent.first_dim = 64;
  latent.shares_values = true;
  latent.type = KvType::kQ8_0;
  check(latent, 29);
  BOOST_TEST(kv_row_bytes(KvType::kQ8_0, 64) == 68);
  BOOST_TEST(!kv_type_fits(KvType::kQ8_0, 80));
}

// Far positions: angles of 10^5 and more must keep float32 accuracy; very far ones take another
// path.
BOOST_AUTO_TEST_CASE(rotation_is_accurate_far_out) {
  AttentionShape s = shape_with(1, 1, 64, 32);
  for (Isa isa : supported_isas()) {
    AttentionCase c(s, 17);
    c.add_sequence(isa, {{0, 40, 131000, 0}}, {131039});
    c.add_sequence(isa, {{0, 40, 3000000, 0}}, {3000039});
    c.add_sequence(isa, {{0, 40, 10, -60}}, {-15});
    compare(c, s, isa, 2);
  }
}
