// Rotary embedding. Included once, inside an anonymous namespace, after V.

/// Branch-free, so that the compiler can use vectors. Cody-Waite reduction by pi/2 in three parts
/// (33 bits each as in fdlibm: products with a quadrant below 2^20 are exact), then the minimax
/// polynomials of fdlibm.
void rope_angles(const double* inv_freq, int64_t pairs, double position, double magnitude,
                 float* cos, float* sin) {
  constexpr double kLargest = 1 << 19;
  constexpr double kTwoOverPi = 6.36619772367581382433e-01, kRound = 6755399441055744.0;
  constexpr double kPart1 = 1.57079632673412561417e+00, kPart2 = 6.07710050630396597660e-11,
                   kPart3 = 2.02226624879595063154e-21;
  for (int64_t i = 0; i < pairs; ++i) {
    const double angle = position * inv_freq[i];
    const double shifted = angle * kTwoOverPi + kRound;
    const double n = shifted - kRound;
    int64_t quadrant;
    std::memcpy(&quadrant, &shifted, 8);
    const double r = ((angle - n * kPart1) - n * kPart2) - n * kPart3;
    const double z = r * r;
    const double s =
        r +
        r * z *
            (-1.66666666666666324348e-01 +
             z * (8.33333333332248946124e-03 +
                  z * (-1.98412698298579493134e-04 +
                       z * (2.75573137070700676789e-06 +
                            z * (-2.50507602534068634195e-08 + z * 1.58969099521155010221e-10)))));
    const double c =
        1.0 - 0.5 * z +
        z * z *
            (4.16666666666666019037e-02 +
             z * (-1.38888888888741095749e-03 +
                  z * (2.48015872894767294178e-05 +
                       z * (-2.75573143513906633035e-07 +
                            z * (2.08757232129817482790e-09 + z * -1.13596475577881948265e-11)))));
    const bool swap = (quadrant & 1) != 0;
    const double cos_sign = ((quadrant + 1) & 2) != 0 ? -magnitude : magnitude;
    const double sin_sign = (quadrant & 2) != 0 ? -magnitude : magnitude;
    cos[i] = static_cast<float>((swap ? s : c) * cos_sign);
    sin[i] = static_cast<float>((swap ? c : s) * sin_sign);
  }
  for (int64_t i = 0; i < pairs; ++i) {
    const double angle = position * inv_freq[i];
    if (__builtin_fabs(angle) <= kLargest) continue;
    cos[i] = static_cast<float>(__builtin_cos(angle) * magnitude);
    sin[i] = static_cast<float>(__builtin_sin(angle) * magnitude);
  }
}

void rotate(RopeKind kind, const float* in, const float* cos, const float* sin, int64_t first,
            int64_t pairs, int64_t head_dim, float scale, float* out) {
  const int64_t end = first + 2 * pairs;
  for (int64_t i = 0; i < first; ++i) out[i] = in[i] * scale;
  for (int64_t i = end; i < head_dim; ++i) out[i] = in[i] * scale;
  in += first;
  out += first;
  if (kind == RopeKind::kHalfSplit) {
    for (int64_t i = 0; i < pairs; i += V::kLanes) {
      const int lanes = pairs - i < V::kLanes ? static_cast<int>(pairs - i) : V::kLanes;
      const V::F c = V::load_n(cos + i, lanes), s = V::load_n(sin + i, lanes), f = V::set1(scale);
      const V::F a = V::load_n(in + i, lanes), b = V::load_n(in + pairs + i, lanes);
      V::store_n(out + i, V::mul(V::fnma(b, s, V::mul(a, c)), f), lanes);
      V::store_n(out + pairs + i, V::mul(V::fma(a, s, V::mul(b, c)), f), lanes);
    }
  } else {
    for (int64_t i = 0; i < pairs; ++i) {
      const float a = in[2 * i], b = in[2 * i + 1];
      out[2 * i] = (a * cos[i] - b * sin[i]) * scale;
      out[2 * i + 1] = (a * sin[i] + b * cos[i]) * scale;
    }
  }
}
