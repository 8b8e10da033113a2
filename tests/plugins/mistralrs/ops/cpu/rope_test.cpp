#include "ops/cpu/rope.h"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstring>
#include <numeric>

#include "ops/cpu/kernel_table.h"
#include "tested_isas.h"

using namespace spnl::mistralrs::cpu;
using namespace spnl::test;

namespace {

Rope rope_with(int pairs, double base) {
  Rope rope;
  for (int i = 0; i < pairs; ++i) rope.turns.inv_freq.push_back(std::pow(base, -double(i) / pairs));
  return rope;
}

Rope long_rope() {
  Rope rope = rope_with(24, 10000);
  rope.long_turns = rope_with(24, 500).turns;
  rope.long_turns.magnitude = 1.2;
  return rope;
}

/// What each row's angles are when nothing is kept.
std::vector<float> fresh(Isa isa, const Rope& rope, const RowPositions& rows) {
  const int64_t pairs = rope.pairs();
  std::vector<float> all(rows.at.size() * 2 * static_cast<size_t>(pairs));
  for (size_t row = 0; row < rows.at.size(); ++row) {
    const RopeTurns& turns = rope.of(rows.is_long(static_cast<int64_t>(row)));
    float* cos = all.data() + row * 2 * static_cast<size_t>(pairs);
    kernels(isa).rope_angles(turns.inv_freq.data(), pairs, rows.at[row], turns.magnitude, cos,
                             cos + pairs);
  }
  return all;
}

/// Twice, so that one of them finds what the other computed.
void check(RopeAngles& angles, ThreadTeam& team, Isa isa, const Rope& rope,
           const RowPositions& rows) {
  const std::vector<float> want = fresh(isa, rope, rows);
  for (int i = 0; i < 2; ++i) {
    const float* got = angles.of_rows(team, isa, rope, rows);
    BOOST_TEST((want.empty() || std::memcmp(got, want.data(), want.size() * 4) == 0),
               isa_name(isa) << ": " << rows.at.size() << " rows, " << rope.pairs() << " pairs");
  }
}

}  // namespace

// Kept angles are those of the rows asked for, whatever was asked for before.
BOOST_AUTO_TEST_CASE(angles_follow_positions_and_ropes) {
  std::vector<int32_t> prompt(600);
  std::iota(prompt.begin(), prompt.end(), 0);
  const std::vector<int32_t> decode{64, 7, 131039, 3000039}, next{65, 7, 131040, 3000040};
  for (Isa isa : supported_isas()) {
    ThreadTeam team(2);
    RopeAngles angles;
    for (const auto& positions : {prompt, decode, next, decode, std::vector<int32_t>{}, prompt}) {
      check(angles, team, isa, rope_with(32, 10000), positions);
      check(angles, team, isa, rope_with(32, 1e6), positions);
      check(angles, team, isa, rope_with(0, 1), positions);
    }
    for (int pairs = 1; pairs < 9; ++pairs) check(angles, team, isa, rope_with(pairs, 100), decode);
    check(angles, team, isa, rope_with(32, 10000), decode);
  }
}

// At the same position: rows that turn by the long frequencies and rows that do not.
BOOST_AUTO_TEST_CASE(angles_follow_the_long_rope) {
  const std::vector<int32_t> positions{5, 5, 900, 6};
  const std::vector<uint8_t> some{0, 1, 1, 0}, others{1, 1, 0, 0}, none{0, 0, 0, 0};
  for (Isa isa : supported_isas()) {
    ThreadTeam team(2);
    RopeAngles angles;
    for (const auto& long_rows : {some, others, none, some})
      check(angles, team, isa, long_rope(), {positions, long_rows});
    check(angles, team, isa, long_rope(), positions);
    Rope other = long_rope();
    other.long_turns.magnitude = 1.4;
    check(angles, team, isa, other, {positions, some});
    other.turns.magnitude = 0.5;
    check(angles, team, isa, other, {positions, some});
    check(angles, team, isa, long_rope(), {positions, some});
  }
}
