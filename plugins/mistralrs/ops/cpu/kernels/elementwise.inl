// Norms and activations of one row. Included once, inside an anonymous namespace, after V.

/// Sum of f(x[i]) in four chains of vectors, in an order that only n decides.
template <class F>
inline float sum_of(const float* x, int64_t n, const F& f) {
  constexpr int kLanes = V::kLanes;
  V::F sums[4] = {V::zero(), V::zero(), V::zero(), V::zero()};
  int64_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
    for (int j = 0; j < 4; ++j) sums[j] = f(sums[j], V::load(x + i + j * kLanes), kLanes);
  }
  for (; i < n; i += kLanes) {
    const int lanes = n - i < kLanes ? static_cast<int>(n - i) : kLanes;
    sums[0] = f(sums[0], V::load_n(x + i, lanes), lanes);
  }
  return V::reduce_add(V::add(V::add(sums[0], sums[1]), V::add(sums[2], sums[3])));
}

void norm(const NormParams& params, const float* weight, const float* bias, const float* x,
          int64_t n, float* y) {
  const auto size = static_cast<float>(n);
  float mean = 0;
  if (params.kind == NormKind::kLayer)
    mean = sum_of(x, n, [](V::F sum, V::F v, int) { return V::add(sum, v); }) / size;
  const V::F center = V::set1(mean);
  const float squares = sum_of(x, n, [&](V::F sum, V::F v, int lanes) {
    V::F d = V::sub(v, center);
    if (lanes < V::kLanes) d = V::keep(d, 0, lanes, 0.0f);  // beyond the row
    return V::fma(d, d, sum);
  });
  const V::F scale = V::set1(1.0f / __builtin_sqrtf(squares / size + params.eps));
  const V::F offset = V::set1(params.weight_offset);
  for (int64_t i = 0; i < n; i += V::kLanes) {
    const int lanes = n - i < V::kLanes ? static_cast<int>(n - i) : V::kLanes;
    const V::F w = V::add(V::load_n(weight + i, lanes), offset);
    V::F v = V::mul(V::mul(V::sub(V::load_n(x + i, lanes), center), scale), w);
    if (bias != nullptr) v = V::add(v, V::load_n(bias + i, lanes));
    V::store_n(y + i, v, lanes);
  }
}

/// x / (1 + exp(-a))
inline V::F times_sigmoid(V::F x, V::F a) {
  return V::div(x, V::add(V::set1(1.0f), V::exp(V::sub(V::zero(), a))));
}

inline V::F min(V::F a, V::F b) {
  return V::sub(V::zero(), V::max(V::sub(V::zero(), a), V::sub(V::zero(), b)));
}

/// Every activation of x alone.
template <Activation A>
inline V::F activated(V::F x) {
  if constexpr (A == Activation::kSilu) return times_sigmoid(x, x);
  if constexpr (A == Activation::kGeluTanh) {
    // (1 + tanh(u)) / 2 = sigmoid(2u), u = sqrt(2 / pi) * (x + 0.044715 x^3)
    const V::F inner = V::fma(V::mul(V::mul(x, x), x), V::set1(0.044715f), x);
    return times_sigmoid(x, V::mul(inner, V::set1(1.5957691216057308f)));
  }
  if constexpr (A == Activation::kGeluErf) {
    float v[V::kLanes];
    V::store(v, x);
    for (float& e : v) e *= 0.5f * __builtin_erfcf(e * -0.70710678118654752f);
    return V::load(v);
  }
  if constexpr (A == Activation::kReluSquared) {
    const V::F positive = V::max(x, V::zero());
    return V::mul(positive, positive);
  }
  const V::F g = min(x, V::set1(7.0f));
  return times_sigmoid(g, V::mul(g, V::set1(1.702f)));
}

/// What the activation makes of `up` before the product.
template <Activation A>
inline V::F prepared(V::F up) {
  if constexpr (A != Activation::kClampedSwiglu) return up;
  return V::add(min(V::max(up, V::set1(-7.0f)), V::set1(7.0f)), V::set1(1.0f));
}

template <Activation A>
void activate_as(float* gate, const float* up, int64_t n) {
  for (int64_t i = 0; i < n; i += V::kLanes) {
    const int lanes = n - i < V::kLanes ? static_cast<int>(n - i) : V::kLanes;
    V::F y = activated<A>(V::load_n(gate + i, lanes));
    if (up != nullptr) y = V::mul(y, prepared<A>(V::load_n(up + i, lanes)));
    V::store_n(gate + i, y, lanes);
  }
}

void activate(Activation activation, float* gate, const float* up, int64_t n) {
  using enum Activation;
  if (activation == kSilu) activate_as<kSilu>(gate, up, n);
  if (activation == kGeluTanh) activate_as<kGeluTanh>(gate, up, n);
  if (activation == kGeluErf) activate_as<kGeluErf>(gate, up, n);
  if (activation == kReluSquared) activate_as<kReluSquared>(gate, up, n);
  if (activation == kClampedSwiglu) activate_as<kClampedSwiglu>(gate, up, n);
}

/// cap * tanh(x / cap)
inline V::F soft_cap(V::F x, float cap) {
  const V::F e = V::exp(V::mul(x, V::set1(2.0f / cap)));
  return V::mul(V::set1(cap),
                V::sub(V::set1(1.0f), V::div(V::set1(2.0f), V::add(e, V::set1(1.0f)))));
}

void add_scaled(const float* x, float scale, int64_t n, float* y) {
  const V::F s = V::set1(scale);
  for (int64_t i = 0; i < n; i += V::kLanes) {
    const int lanes = n - i < V::kLanes ? static_cast<int>(n - i) : V::kLanes;
    V::store_n(y + i, V::fma(V::load_n(x + i, lanes), s, V::load_n(y + i, lanes)), lanes);
  }
}

void scale_and_cap(float scale, float cap, float* x, int64_t n) {
  for (int64_t i = 0; i < n; i += V::kLanes) {
    const int lanes = n - i < V::kLanes ? static_cast<int>(n - i) : V::kLanes;
    V::F y = V::mul(V::load_n(x + i, lanes), V::set1(scale));
    if (cap > 0) y = soft_cap(y, cap);
    V::store_n(x + i, y, lanes);
  }
}
