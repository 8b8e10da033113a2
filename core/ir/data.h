#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

#include "spnl/query.h"

namespace spnl::ir {

/// What JSON and YAML have in common: maps, lists, texts and numbers, told in order.
class DataSink {
 public:
  virtual ~DataSink() = default;
  virtual void begin_map(size_t entries) = 0;
  virtual void end_map() = 0;
  virtual void begin_list(size_t items) = 0;
  virtual void end_list() = 0;
  virtual void key(std::string_view name) = 0;  ///< a plain word; the entry's value follows
  virtual void text(std::string_view text) = 0;
  virtual void number(std::string_view digits) = 0;
  virtual void bytes(const std::vector<uint8_t>& bytes) = 0;  ///< a list of numbers
};

/// Tells the canonical tree of a query (language specification, section 2): keys in its order,
/// optional fields only when given. Constant stack.
void tell(const Query& query, DataSink& sink);

}  // namespace spnl::ir
