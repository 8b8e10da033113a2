// Norms and activations of one row. Included once, inside an anonymous namespace, after V.

void rms_norm(const float* x, const float* weight, float eps, float weight_offset, int64_t n,
              float* y) {
  constexpr int kLanes = V::kLanes;
  V::F sums[4] = {V::zero(), V::zero(), V::zero(), V::zero()};
  int64_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
    for (int j = 0; j < 4; ++j) {
      const V::F v = V::load(x + i + j * kLanes);
      sums[j] = V::fma(v, v, sums[j]);
    }
  }
  for (; i < n; i += kLanes) {
    const V::F v = V::load_n(x + i, n - i < kLanes ? static_cast<int>(n - i) : kLanes);
    sums[0] = V::fma(v, v, sums[0]);
  }
  const float sum = V::reduce_add(V::add(V::add(sums[0], sums[1]), V::add(sums[2], sums[3])));
  const V::F scale = V::set1(1.0f / __builtin_sqrtf(sum / static_cast<float>(n) + eps));
  const V::F offset = V::set1(weight_offset);
  for (i = 0; i < n; i += kLanes) {
    const int lanes = n - i < kLanes ? static_cast<int>(n - i) : kLanes;
    const V::F w = V::add(V::load_n(weight + i, lanes), offset);
    V::store_n(y + i, V::mul(V::mul(V::load_n(x + i, lanes), scale), w), lanes);
  }
}

/// x / (1 + exp(-a))
inline V::F times_sigmoid(V::F x, V::F a) {
  return V::div(x, V::add(V::set1(1.0f), V::exp(V::sub(V::zero(), a))));
}

void gated_activation(Activation activation, float* gate, const float* up, int64_t n) {
  for (int64_t i = 0; i < n; i += V::kLanes) {
    const int lanes = n - i < V::kLanes ? static_cast<int>(n - i) : V::kLanes;
    const V::F x = V::load_n(gate + i, lanes);
    V::F y;
    if (activation == Activation::kSilu) {
      y = times_sigmoid(x, x);
    } else {
      // (1 + tanh(u)) / 2 = sigmoid(2u), u = sqrt(2 / pi) * (x + 0.044715 x^3)
      const V::F inner = V::fma(V::mul(V::mul(x, x), x), V::set1(0.044715f), x);
      y = times_sigmoid(x, V::mul(inner, V::set1(1.5957691216057308f)));
    }
    V::store_n(gate + i, V::mul(y, V::load_n(up + i, lanes)), lanes);
  }
}

void add_scaled(const float* x, float scale, int64_t n, float* y) {
  const V::F s = V::set1(scale);
  for (int64_t i = 0; i < n; i += V::kLanes) {
    const int lanes = n - i < V::kLanes ? static_cast<int>(n - i) : V::kLanes;
    V::store_n(y + i, V::fma(V::load_n(x + i, lanes), s, V::load_n(y + i, lanes)), lanes);
  }
}
