#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "spnl/query.h"

namespace spnl {

/// The nodes of a query as an array, the root first and parents before children, with their places
/// in the tree. Borrows the query.
struct NodeTable {
  struct Node {
    const Query* query = nullptr;
    uint32_t parent = 0, slot = 0;              ///< slot: index among the parent's children
    uint32_t first_child = 0, child_count = 0;  ///< children lie side by side
    uint64_t hash = 0;                          ///< of the path, for seeds
  };

  explicit NodeTable(const Query& query);
  std::vector<Node> nodes;

  std::string path(uint32_t node) const;                   ///< "0.2", "root"
  std::string path(uint32_t node, uint32_t input) const;   ///< of an input of a map
  std::string where(uint32_t node) const;                  ///< "node 0.2, line 3, column 5"
  std::string where(uint32_t node, uint32_t input) const;  ///< of an input of a map

 private:
  std::string where_named(uint32_t node, const std::string& name) const;
};

/// What a generate, a repeat or a map asks of which model; null for other nodes.
struct ModelUse {
  const std::string* model = nullptr;
  const Sampling* sampling = nullptr;
  uint32_t samples = 1;  ///< of each input
  uint32_t inputs = 1;   ///< of a map, else 1
  bool map = false;
};
std::optional<ModelUse> model_use(const Query& query);

/// A seq or cross: what follows a monad in it waits for the monad's effect.
bool in_order(const Query& query);

/// For each node whether a monad is in it.
std::vector<bool> find_monads(const NodeTable& table);

}  // namespace spnl
