#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstring>
#include <numeric>

#include "ops/cpu/packed_layout.h"
#include "ops/cpu/packed_matrix.h"
#include "oracle.h"
#include "spnl/modelkit/error.h"
#include "tested_isas.h"

using spnl::modelkit::TensorType;
using namespace spnl::mistralrs::cpu;
using namespace spnl::test;

BOOST_TEST_GLOBAL_FIXTURE(PrintTestedIsas);

namespace {

constexpr TensorType kTypes[] = {
    TensorType::kF32,  TensorType::kF16,    TensorType::kBF16,   TensorType::kQ4_0,
    TensorType::kQ4_1, TensorType::kQ5_0,   TensorType::kQ5_1,   TensorType::kQ8_0,
    TensorType::kQ2_K, TensorType::kQ3_K,   TensorType::kQ4_K,   TensorType::kQ5_K,
    TensorType::kQ6_K, TensorType::kIQ4_NL, TensorType::kIQ4_XS, TensorType::kMXFP4};

bool is_float_type(TensorType type) { return blocks_of(type).elements == 1; }

/// A weight and an input whose groups have very different sizes, some of them zero. Of three tokens
/// two have outlier columns, not the same ones.
struct Case {
  Case(TensorType t, int64_t r, int64_t c, int64_t tokens, uint32_t seed)
      : type(t), rows(r), cols(c), m(tokens), random(seed) {
    data = random_tensor(type, rows * cols, random);
    weights = decode(type, data, rows * cols);
    x = random_floats(static_cast<size_t>(m * cols), 1.0f, random);
    for (int64_t i = 0; i < m * cols; i += 16) {
      const float size =
          random() % 9 == 0 ? 0.0f : std::exp2(static_cast<float>(random() % 8) - 4.0f);
      for (int64_t j = i; j < std::min(i + 16, m * cols); ++j) x[static_cast<size_t>(j)] *= size;
    }
    for (int64_t token = 0; token < m; ++token) {
      for (int64_t n = 0; n < token % 3; ++n) {
        x[static_cast<size_t>(token * cols + (37 * token + 101 * n) % cols)] *= 50.0f;
      }
    }
  }

  std::vector<float> run(Isa isa, int threads, int64_t tokens, const float* input) const {
    ThreadTeam team(threads);
    const PackedMatrix w = PackedMatrix::pack(team, isa, type, data.data(), rows, cols);
    MatmulScratch scratch;
    std::vector<float> y(static_cast<size_t>(tokens * rows), NAN);
    const MatmulOutput output{&w, y.data(), rows};
    matmul(team, scratch, input, cols, tokens, std::span(&output, 1));
    return y;
  }

  TensorType type;
  int64_t rows, cols, m;
  std::mt19937 random;
  std::vector<uint8_t> data;
  std::vector<double> weights;
  std::vector<float> x;
};

/// The int8 form of a group of 32 values as packed_layout.h states it.
struct QuantisedGroup {
  explicit QuantisedGroup(const float* x) {
    float amax = 0;
    for (int i = 0; i < 32; ++i) amax = std::max(amax, std::fabs(x[i]));
    d = amax > 1e-30f ? amax / 127.0f : 0.0f;
    for (int i = 0; i < 32; ++i)
      q[i] = d > 0 ? static_cast<int>(std::lrint(x[i] * (127.0f / amax))) : 0;
  }
  double value(int i) const { return static_cast<double>(d) * q[i]; }
  int q[32];
  float d;
};

/// A row in int8, its outlier groups in two planes.
struct QuantisedRow {
  QuantisedRow(const float* x, int64_t cols, bool two_planes = true) {
    std::vector<QuantisedGroup> groups;
    float sum = 0;
    for (int64_t g = 0; g < cols; g += 32) {
      groups.emplace_back(x + g);
      sum += groups.back().d;
    }
    for (int64_t g = 0; g < cols; g += 32) {
      const QuantisedGroup& group = groups[static_cast<size_t>(g / 32)];
      float rest[32];
      for (int i = 0; i < 32; ++i) rest[i] = static_cast<float>(x[g + i] - group.value(i));
      const QuantisedGroup second(rest);
      const bool outlier = two_planes && group.d > sum * (kOutlierRatio / (cols / 32.0f));
      outliers += outlier;
      for (int i = 0; i < 32; ++i) {
        values.push_back(group.value(i) + (outlier ? second.value(i) : 0.0));
        error.push_back(outlier ? group.d / 254 * 0.5 : group.d * 0.5);
      }
    }
    for (size_t first = 0; first + 8 <= groups.size(); first += 8) add_sum_errors(&groups[first]);
  }
  /// The sums of 8 groups become integers of 16 bits times a common scale.
  void add_sum_errors(const QuantisedGroup* groups) {
    float sums[8], most = 0;
    for (int g = 0; g < 8; ++g) {
      sums[g] = groups[g].d * static_cast<float>(std::accumulate(groups[g].q, groups[g].q + 32, 0));
      most = std::max(most, std::fabs(sums[g]));
    }
    const float inverse = most > 1e-30f ? 32767.0f / most : 0.0f;
    for (const float sum : sums) {
      const double rounded = static_cast<double>(most) / 32767 * std::lrint(sum * inverse);
      sum_error.push_back(rounded - sum);
    }
  }
  std::vector<double> values, error;  ///< each value, and how far it may be from x
  std::vector<double> sum_error;      ///< of each group's sum where minimums are multiplied with it
  int outliers = 0;
};

bool has_unit_minimums(TensorType type) {
  return type == TensorType::kQ4_K || type == TensorType::kQ5_K;
}

/// What the weights would be if all quants of a type with unit minimums were zero.
std::vector<double> minimums(const Case& c) {
  constexpr size_t kHeader = 16;
  const size_t block = static_cast<size_t>(blocks_of(c.type).bytes);
  std::vector<uint8_t> data = c.data;
  for (size_t at = 0; at < data.size(); at += block)
    std::fill_n(data.begin() + static_cast<std::ptrdiff_t>(at + kHeader), block - kHeader, 0);
  return decode(c.type, data, c.rows * c.cols);
}

/// What y[token, row] must be: with the input as it is, with the input as it is quantised, how
/// large the terms are in sum, and how far quantising may move the result at most.
struct Expected {
  double exact = 0, quantised = 0, size = 0, bound = 0;
};

std::vector<Expected> expected(const Case& c, int64_t token) {
  const float* x = c.x.data() + token * c.cols;
  const bool exact = is_float_type(c.type);
  const QuantisedRow row(x, exact ? 0 : c.cols);
  std::vector<Expected> all(static_cast<size_t>(c.rows));
  const std::vector<double> mins = has_unit_minimums(c.type) ? minimums(c) : std::vector<double>();
  const double* w = c.weights.data();
  for (Expected& e : all) {
    for (int64_t k = 0; k < c.cols && !mins.empty(); k += 32)
      e.quantised += mins[static_cast<size_t>(w + k - c.weights.data())] *
                     row.sum_error[static_cast<size_t>(k / 32)];
    for (int64_t k = 0; k < c.cols; ++k, ++w) {
      const auto i = static_cast<size_t>(k);
      const double term = exact ? *w * x[k] : *w * row.values[i];
      e.exact += *w * x[k];
      e.quantised += term;
      e.size += std::fabs(term);
      e.bound += exact ? 0.0 : std::fabs(*w) * row.error[i];
    }
  }
  return all;
}

void check(const Case& c, Isa isa, int threads) {
  BOOST_TEST_CONTEXT("isa " << isa_name(isa) << " type " << static_cast<int>(c.type) << " rows "
                            << c.rows << " cols " << c.cols << " m " << c.m << " threads "
                            << threads) {
    const std::vector<float> y = c.run(isa, threads, c.m, c.x.data());
    double worst = 0, worst_bound = 0;
    for (int64_t t = 0; t < c.m; ++t) {
      const std::vector<Expected> all = expected(c, t);
      for (int64_t r = 0; r < c.rows; ++r) {
        const Expected& e = all[static_cast<size_t>(r)];
        const double got = y[static_cast<size_t>(t * c.rows + r)];
        // Asymmetric formats subtract large terms that the sum of products does not show.
        const double unit = e.size + 1e-3 * static_cast<double>(c.cols) + 1e-30;
        const double error = std::fabs(got - e.quantised) / unit;
        worst = std::isnan(error) ? INFINITY : std::max(worst, error);
        worst_bound =
            std::max(worst_bound, std::fabs(got - e.exact) - e.bound * 1.001 - 2e-5 * unit);
      }
    }
    BOOST_TEST(worst < 5e-6);
    BOOST_TEST(worst_bound <= 0);
  }
}

void set_scales_to_one(TensorType type, uint8_t* block) {
  const uint16_t one = 0x3c00;
  int at = 0;
  if (type == TensorType::kQ6_K) at = 208;
  if (type == TensorType::kQ3_K) at = 108;
  if (type == TensorType::kQ2_K) at = 80;
  if (type == TensorType::kMXFP4) {
    block[0] = 127;
    return;
  }
  std::memcpy(block + at, &one, 2);
  for (TensorType with_min : {TensorType::kQ4_1, TensorType::kQ5_1, TensorType::kQ2_K,
                              TensorType::kQ4_K, TensorType::kQ5_K}) {
    if (type == with_min) std::memcpy(block + at + 2, &one, 2);
  }
}

bool same_bits(const float* a, const float* b, int64_t n) {
  return std::memcmp(a, b, static_cast<size_t>(n) * sizeof(float)) == 0;
}

}  // namespace

BOOST_AUTO_TEST_CASE(products_match_double_precision) {
  uint32_t seed = 1;
  for (Isa isa : tested_isas()) {
    for (TensorType type : kTypes) {
      const int64_t block = blocks_of(type).elements;
      for (int64_t rows : {1, 15, 16, 17, 33}) {
        for (int64_t cols : {block == 1 ? int64_t{7} : block,
                             block == 1 ? int64_t{100} : std::max<int64_t>(160, block * 3)}) {
          for (int64_t m : {1, 2, 3, 8, 9, 33}) {
            ++seed;
            check(Case(type, rows, cols, m, seed), isa, static_cast<int>(1 + seed % 3));
          }
        }
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(a_row_does_not_depend_on_its_batch_or_on_threads) {
  for (Isa isa : tested_isas()) {
    for (TensorType type : kTypes) {
      const Case c(type, 70, blocks_of(type).elements == 1 ? 131 : 512, 37, 5);
      const std::vector<float> whole = c.run(isa, 1, c.m, c.x.data());
      for (int threads : {2, 3}) {
        const std::vector<float> again = c.run(isa, threads, c.m, c.x.data());
        BOOST_TEST(same_bits(again.data(), whole.data(), c.m * c.rows));
      }
      for (int64_t m = 1; m <= 18; ++m) {
        const int64_t first = m % 5;
        const std::vector<float> part =
            c.run(isa, 1 + static_cast<int>(m % 2), m, c.x.data() + first * c.cols);
        BOOST_TEST(same_bits(part.data(), whole.data() + first * c.rows, m * c.rows),
                   "isa " << isa_name(isa) << " type " << static_cast<int>(type) << " m " << m);
      }
    }
  }
}

/// Input of ordinary size with `outliers` large columns in a token, a few groups apart.
void spread_outliers(Case& c, int64_t token, int outliers) {
  float* x = c.x.data() + token * c.cols;
  for (int64_t k = 0; k < c.cols; ++k) x[k] = 0.01f * static_cast<float>(k * 37 % 101 - 50);
  for (int n = 0; n < outliers; ++n)
    x[(token * 45 + n * 160) % c.cols] = n % 2 == 0 ? 61.7f : -43.3f;
}

// Without the second plane the rounding of the outlier groups is nearly all of the error.
BOOST_AUTO_TEST_CASE(outliers_do_not_cost_precision) {
  for (Isa isa : tested_isas()) {
    for (TensorType type : kTypes) {
      if (is_float_type(type)) continue;
      Case c(type, 48, 1024, 19, 6);
      double error = 0, plain_error = 0;
      for (int64_t t = 0; t < c.m; ++t) spread_outliers(c, t, static_cast<int>(t % 4));
      const std::vector<float> y = c.run(isa, 2, c.m, c.x.data());
      for (int64_t t = 0; t < c.m; ++t) {
        const float* x = c.x.data() + t * c.cols;
        const QuantisedRow plain(x, c.cols, false);
        BOOST_TEST(QuantisedRow(x, c.cols).outliers == t % 4);
        if (t % 4 == 0) continue;
        const std::vector<Expected> all = expected(c, t);
        for (int64_t r = 0; r < c.rows; ++r) {
          double off = 0;
          for (int64_t k = 0; k < c.cols; ++k) {
            off += c.weights[static_cast<size_t>(r * c.cols + k)] *
                   (plain.values[static_cast<size_t>(k)] - x[k]);
          }
          const double e =
              y[static_cast<size_t>(t * c.rows + r)] - all[static_cast<size_t>(r)].exact;
          plain_error += off * off;
          error += e * e;
        }
      }
      BOOST_TEST(error * 10 * 10 < plain_error,
                 "isa " << isa_name(isa) << " type " << static_cast<int>(type) << ": "
                        << std::sqrt(error) << " of " << std::sqrt(plain_error));
    }
  }
}

// Rows with outliers share tiles with rows that have none, or others.
BOOST_AUTO_TEST_CASE(outliers_of_other_rows_leave_no_trace) {
  for (Isa isa : tested_isas()) {
    for (TensorType type : kTypes) {
      if (is_float_type(type)) continue;
      Case c(type, 33, 512, 16, 8);
      for (int64_t t = 0; t < c.m; ++t) spread_outliers(c, t, static_cast<int>(t % 3));
      const std::vector<float> whole = c.run(isa, 2, c.m, c.x.data());
      for (int64_t t = 0; t < c.m; ++t) {
        const std::vector<float> alone = c.run(isa, 1, 1, c.x.data() + t * c.cols);
        BOOST_TEST(same_bits(alone.data(), whole.data() + t * c.rows, c.rows),
                   "isa " << isa_name(isa) << " type " << static_cast<int>(type) << " row " << t);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(zero_and_non_finite_rows_stay_by_themselves) {
  const float odd[] = {0.0f, INFINITY, -INFINITY, NAN};
  for (Isa isa : tested_isas()) {
    for (TensorType type : {TensorType::kQ4_0, TensorType::kQ8_0, TensorType::kQ2_K}) {
      Case c(type, 20, 512, 8, 2);
      for (int64_t t = 0; t < c.m; ++t) spread_outliers(c, t, 2);
      std::fill_n(c.x.data(), c.cols, 0.0f);
      for (int64_t t = 1; t < 4; ++t) c.x[static_cast<size_t>(t * c.cols + 40)] = odd[t];
      const std::vector<float> y = c.run(isa, 1, c.m, c.x.data());
      for (int64_t r = 0; r < c.rows; ++r) BOOST_TEST(y[static_cast<size_t>(r)] == 0.0f);
      for (int64_t t = 4; t < c.m; ++t) {
        const std::vector<float> alone = c.run(isa, 1, 1, c.x.data() + t * c.cols);
        BOOST_TEST(same_bits(alone.data(), y.data() + t * c.rows, c.rows));
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(instruction_sets_agree) {
  for (TensorType type : kTypes) {
    const Case c(type, 50, 768, 11, 9);
    const std::vector<float> reference = c.run(Isa::kScalar, 1, c.m, c.x.data());
    for (Isa isa : tested_isas()) {
      const std::vector<float> y = c.run(isa, 2, c.m, c.x.data());
      double worst = 0, size = 0;
      for (size_t i = 0; i < y.size(); ++i) {
        worst = std::max<double>(worst, std::fabs(y[i] - reference[i]));
        size = std::max<double>(size, std::fabs(reference[i]));
      }
      BOOST_TEST(worst <= 2e-5 * size, isa_name(isa) << " type " << static_cast<int>(type) << ": "
                                                     << worst << " of " << size);
    }
  }
}

// Where CPUs have the better one the same text comes out, and a tile may be cut in two for both.
BOOST_AUTO_TEST_CASE(better_dot_products_give_the_same_bits) {
  for (Isa isa : tested_isas()) {
    if (isa != Isa::kAvxVnni && isa != Isa::kAmx) continue;
    const Isa plain = isa == Isa::kAmx ? Isa::kAvx512Vnni : Isa::kAvx2;
    for (TensorType type : kTypes) {
      const int64_t block = blocks_of(type).elements;
      for (int64_t m = 1; m <= 20; ++m) {
        const int64_t cols = block == 1 ? 131 : block * (1 + m % 5);
        const Case c(type, 29 + m, cols, m, static_cast<uint32_t>(m));
        const std::vector<float> want = c.run(plain, 1, m, c.x.data()),
                                 got = c.run(isa, 2, m, c.x.data());
        BOOST_TEST(same_bits(got.data(), want.data(), m * c.rows),
                   "isa " << isa_name(isa) << " type " << static_cast<int>(type) << " m " << m);
      }
    }
  }
}

// Extreme bytes: 255 * 127 pairs overflow 16 bits where a kernel is not careful, -128 has no
// negative.
BOOST_AUTO_TEST_CASE(extreme_quants_are_exact) {
  for (Isa isa : tested_isas()) {
    for (TensorType type : kTypes) {
      if (is_float_type(type)) continue;
      for (uint8_t fill : {0x00, 0x7f, 0x80, 0xff}) {
        Case c(type, 16, 256, 2, 3);
        const Blocks blocks = blocks_of(type);
        for (size_t b = 0; b < c.data.size(); b += static_cast<size_t>(blocks.bytes)) {
          uint8_t* block = c.data.data() + b;
          std::memset(block, fill, static_cast<size_t>(blocks.bytes));
          set_scales_to_one(type, block);
        }
        c.weights = decode(type, c.data, c.rows * c.cols);
        for (size_t i = 0; i < c.x.size(); ++i) c.x[i] = i < 256 || i % 2 == 0 ? 127.0f : -127.0f;
        const std::vector<float> y = c.run(isa, 1, c.m, c.x.data());
        for (int64_t t = 0; t < c.m; ++t) {
          const std::vector<Expected> all = expected(c, t);
          for (int64_t r = 0; r < c.rows; ++r) {
            const Expected& e = all[static_cast<size_t>(r)];
            BOOST_TEST(std::fabs(y[static_cast<size_t>(t * c.rows + r)] - e.exact) <=
                       1e-6 * (e.size + 1));
          }
        }
      }
    }
  }
}

// Exponents 0 and 1 are subnormal scales.
BOOST_AUTO_TEST_CASE(mxfp4_exponents_are_exact) {
  for (Isa isa : tested_isas()) {
    for (int exponent : {0, 1, 2, 3, 60, 127, 200, 240}) {
      Case c(TensorType::kMXFP4, 16, 32, 1, 4);
      for (size_t b = 0; b < c.data.size(); b += 17) c.data[b] = static_cast<uint8_t>(exponent);
      c.weights = decode(c.type, c.data, c.rows * c.cols);
      const std::vector<float> y = c.run(isa, 1, 1, c.x.data());
      const std::vector<Expected> all = expected(c, 0);
      for (int64_t r = 0; r < c.rows; ++r) {
        const Expected& e = all[static_cast<size_t>(r)];
        BOOST_TEST(std::fabs(y[static_cast<size_t>(r)] - e.quantised) <= 1e-6 * e.size + 1e-44);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(several_outputs_bias_and_accumulate) {
  for (Isa isa : tested_isas()) {
    std::mt19937 random(4);
    const Case a(TensorType::kQ4_0, 33, 256, 5, 1), b(TensorType::kF16, 20, 256, 5, 2),
        q(TensorType::kQ6_K, 7, 256, 5, 3);
    ThreadTeam team(2);
    MatmulScratch scratch;
    std::vector<MatmulOutput> outputs;
    std::vector<PackedMatrix> packed;
    std::vector<std::vector<float>> y, alone;
    const std::vector<float> bias = random_floats(33, 1, random);
    for (const Case* c : {&a, &b, &q}) {
      packed.push_back(PackedMatrix::pack(team, isa, c->type, c->data.data(), c->rows, c->cols));
      y.push_back(std::vector<float>(static_cast<size_t>(5 * (c->rows + 3)), 2.0f));
      alone.push_back(c->run(isa, 1, 5, a.x.data()));
    }
    for (size_t i = 0; i < 3; ++i) {
      outputs.push_back(
          {&packed[i], y[i].data(), packed[i].rows() + 3, i != 1 ? bias.data() : nullptr, i != 0});
    }
    matmul(team, scratch, a.x.data(), 256, 5, outputs);
    for (size_t i = 0; i < 3; ++i) {
      const auto rows = static_cast<size_t>(packed[i].rows());
      for (size_t t = 0; t < 5; ++t) {
        for (size_t r = 0; r < rows; ++r) {
          const float want =
              alone[i][t * rows + r] + (i != 1 ? bias[r] : 0.0f) + (i != 0 ? 2.0f : 0.0f);
          BOOST_TEST(std::fabs(y[i][t * (rows + 3) + r] - want) <= 1e-5f * (1 + std::fabs(want)));
        }
        BOOST_TEST(y[i][t * (rows + 3) + rows] == 2.0f);  // beyond the row: untouched
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(packed_size_stays_near_the_file) {
  ThreadTeam team(1);
  for (Isa isa : tested_isas()) {
    for (TensorType type : kTypes) {
      const Case c(type, 64, 512, 1, 7);
      const PackedMatrix w = PackedMatrix::pack(team, isa, type, c.data.data(), c.rows, c.cols);
      BOOST_TEST(static_cast<double>(w.bytes()) <= 1.06 * static_cast<double>(c.data.size()));
      BOOST_TEST(w.rows() == 64);
      BOOST_TEST(w.cols() == 512);
    }
  }
}

BOOST_AUTO_TEST_CASE(bad_shapes_and_types_are_refused) {
  ThreadTeam team(1);
  const uint8_t byte = 0;
  const auto pack = [&](TensorType type, int64_t rows, int64_t cols) {
    return PackedMatrix::pack(team, Isa::kScalar, type, &byte, rows, cols);
  };
  BOOST_CHECK_THROW(pack(TensorType::kQ4_0, 1, 33), spnl::modelkit::Error);
  BOOST_CHECK_THROW(pack(TensorType::kQ4_K, 1, 32), spnl::modelkit::Error);
  BOOST_CHECK_THROW(pack(TensorType::kF32, 0, 32), spnl::modelkit::Error);
  BOOST_CHECK_THROW(pack(TensorType::kF32, INT64_MAX / 2, 32), spnl::modelkit::Error);
  BOOST_CHECK_THROW(pack(TensorType::kI8, 1, 32), spnl::modelkit::Error);
  BOOST_TEST(!PackedMatrix::can_pack(TensorType::kIQ1_S));
  for (TensorType type : kTypes) BOOST_TEST(PackedMatrix::can_pack(type));
}

namespace {

/// Rows made on demand, of which one cannot be made.
class FailsAtRow final : public spnl::modelkit::RowSource {
 public:
  explicit FailsAtRow(uint64_t row) : row_(row) {}
  void read(uint64_t first, uint64_t count, std::byte* out) const override {
    if (first <= row_ && row_ < first + count)
      throw spnl::modelkit::Error(spnl::modelkit::ErrorCode::kCorrupt, "row is broken");
    std::memset(out, 0, count * 34);
  }

 private:
  const uint64_t row_;
};

}  // namespace

BOOST_AUTO_TEST_CASE(what_reading_throws_reaches_the_caller) {
  ThreadTeam team(3);
  for (Isa isa : tested_isas()) {
    const auto pack = [&](uint64_t broken) {
      WeightMemory memory(/*piece_bytes=*/0);
      return PackedMatrix::pack(team, memory, isa,
                                spnl::modelkit::Weight("w", TensorType::kQ8_0, 500, 32,
                                                       std::make_shared<FailsAtRow>(broken)));
    };
    for (const uint64_t row : {0u, 250u, 499u}) BOOST_CHECK_THROW(pack(row), spnl::modelkit::Error);
    BOOST_TEST(pack(500).rows() == 500);
  }
}

// Experts and heads: every group as if it ran alone, to the bit.
BOOST_AUTO_TEST_CASE(groups_give_the_bits_of_products_alone) {
  for (Isa isa : tested_isas()) {
    for (const TensorType type : {TensorType::kQ4_K, TensorType::kF16}) {
      const int64_t rows = 40, cols = 256, tokens = 70;
      ThreadTeam team(3);
      MatmulScratch scratch;
      std::mt19937 random(8);
      const std::vector<float> x = random_floats(tokens * cols, 1, random);
      std::vector<PackedMatrix> experts;
      std::vector<std::vector<int32_t>> tokens_of(5);
      for (uint32_t e = 0; e < 5; ++e) {
        const Case c(type, rows, cols, 1, 20 + e);
        experts.push_back(PackedMatrix::pack(team, isa, type, c.data.data(), rows, cols));
      }
      for (int32_t t = 0; t < tokens; ++t) tokens_of[random() % 4].push_back(t);  // the last: none
      std::vector<std::vector<float>> y(5);
      std::vector<MatmulOutput> outputs(5);
      std::vector<MatmulGroup> groups;
      for (size_t e = 0; e < 5; ++e) {
        y[e].resize(tokens_of[e].size() * rows);
        outputs[e] = {&experts[e], y[e].data(), rows};
        groups.push_back({x.data(), cols, static_cast<int64_t>(tokens_of[e].size()),
                          std::span(&outputs[e], 1), tokens_of[e].data()});
      }
      matmul(team, scratch, groups);
      for (size_t e = 0; e < 5; ++e) {
        std::vector<float> one(rows);
        const MatmulOutput output[] = {{&experts[e], one.data(), rows}};
        for (size_t i = 0; i < tokens_of[e].size(); ++i) {
          matmul(team, scratch, x.data() + tokens_of[e][i] * cols, cols, 1, output);
          BOOST_REQUIRE(std::equal(one.begin(), one.end(), y[e].begin() + i * rows));
        }
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(instruction_sets_are_chosen_by_name) {
  BOOST_CHECK(supported_isas().front() == Isa::kScalar);
  BOOST_CHECK(choose_isa("") == supported_isas().back());
  BOOST_CHECK(choose_isa("scalar") == Isa::kScalar);
  BOOST_CHECK_THROW(choose_isa("avx9"), spnl::modelkit::Error);
}
