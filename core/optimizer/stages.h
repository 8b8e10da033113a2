#pragma once
#include <cstdint>
#include <vector>

#include "optimizer/node_table.h"

namespace spnl {

constexpr uint32_t kNoReader = UINT32_MAX;

/// For each node the generate whose prompt its result becomes part of, or kNoReader.
std::vector<uint32_t> readers(const NodeTable& table);

/// For each generate how many stages are before it: those of what its prompt contains, and of
/// monads whose effect it waits for.
std::vector<uint32_t> stages(const NodeTable& table);

}  // namespace spnl
