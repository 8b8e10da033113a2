// A table with products of its own and the other functions of a weaker instruction set. Included
// last, inside an anonymous namespace, after kProduct<Storage>.

template <Storage S>
void replace_product(KernelTable& table) {
  if constexpr (!is_float(S)) table.matmul[static_cast<int>(S)] = kProduct<S>;
}

template <int... S>
KernelTable with_quantised_products(KernelTable table, std::integer_sequence<int, S...>) {
  (replace_product<static_cast<Storage>(S)>(table), ...);
  return table;
}

/// `base`, but products of quantised weights are kProduct.
KernelTable with_quantised_products(const KernelTable& base) {
  return with_quantised_products(base, std::make_integer_sequence<int, kStorages>{});
}
