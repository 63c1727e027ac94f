// One token times weight rows with a float scale for every 32 columns: the other half of one_token.h.
#pragma once
#include "one_token.h"

#if defined(__x86_64__)
/// Takes 64 columns of a row: bytes as limn_panel_32 has them (q + 128), and the scales of the two groups.
typedef __m512i limn_load_pair(const uint8_t *at, __m512i table, float d[2]);

/// Lanes 0–7 of each of 8 vectors, and lanes 8–15, added up: lane 2i and lane 2i + 1 of the result.
LIMN_TARGET_VNNI LIMN_INLINE __m512i sum_halves(const __m512i v[8]) {
  __m512i a[4], b[2];
  LIMN_UNROLL for (int i = 0; i < 4; i++)
    a[i] = _mm512_add_epi32(
      _mm512_unpacklo_epi32(v[2 * i], v[2 * i + 1]), _mm512_unpackhi_epi32(v[2 * i], v[2 * i + 1]));
  LIMN_UNROLL for (int i = 0; i < 2; i++)
    b[i] = _mm512_add_epi32(
      _mm512_unpacklo_epi64(a[2 * i], a[2 * i + 1]), _mm512_unpackhi_epi64(a[2 * i], a[2 * i + 1]));
  const __m512i c =
    _mm512_add_epi32(_mm512_shuffle_i32x4(b[0], b[1], 0x88), _mm512_shuffle_i32x4(b[0], b[1], 0xdd));
  return _mm512_permutexvar_epi32(_mm512_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15), c);
}

/// `pair_bytes` are those of 64 columns; scales are multiplied by `step` first, as unpacking does.
LIMN_TARGET_VNNI LIMN_INLINE void multiply_one_32(
  const void *weight, size_t row_bytes, ptrdiff_t rows, ptrdiff_t columns, const void *prepared, float *y,
  void *scratch, const int pair_bytes, __m512i table, const float step, limn_load_pair *load) {
  const limn_x_32 *x = prepared;
  const ptrdiff_t pairs = columns / 64, wide = (columns / 32 + 15) & ~(ptrdiff_t)15;
  int32_t *sums = scratch;                       // [row][group], `wide` groups apart
  float *d = (float *)(sums + 16 * wide);        // the same
  int32_t *offsets = (int32_t *)(d + 16 * wide);  // [group]: 128 · Σ x
  for (ptrdiff_t g = 0; g < columns / 32; g++) offsets[g] = 128 * x[g / 8].sums[g % 8];

  for (ptrdiff_t first = 0; first < rows; first += 16) {
    const int count = rows - first < 16 ? (int)(rows - first) : 16;
    for (int r = 0; r < count; r++) {
      const uint8_t *at = (const uint8_t *)weight + (size_t)(first + r) * row_bytes;
      for (ptrdiff_t start = 0; start < pairs; start += 8) {
        const int part = pairs - start < 8 ? (int)(pairs - start) : 8;
        const limn_x_32 *xs = x + start / 4;
        float *ds = d + r * wide + 2 * start;
        __m512i sum[8];
        if (part == 8) {  // without a loop, so that the sums stay in registers
          LIMN_UNROLL for (int i = 0; i < 8 * pair_bytes; i += 64)
            _mm_prefetch((const char *)at + LIMN_FETCH_AHEAD + i, _MM_HINT_T0);
          LIMN_UNROLL for (int i = 0; i < 8; i++)
            sum[i] = _mm512_dpbusd_epi32(
              _mm512_setzero_si512(), load(at + i * pair_bytes, table, ds + 2 * i),
              _mm512_loadu_si512(xs[i / 4].q + i % 4 * 64));
          at += 8 * pair_bytes;
        } else {
          LIMN_UNROLL for (int i = 0; i < 8; i++) sum[i] = _mm512_setzero_si512();
          for (int i = 0; i < part; i++, at += pair_bytes)
            sum[i] = _mm512_dpbusd_epi32(
              _mm512_setzero_si512(), load(at, table, ds + 2 * i), _mm512_loadu_si512(xs[i / 4].q + i % 4 * 64));
        }
        const __m512i offset = _mm512_maskz_loadu_epi32((__mmask16)((1u << 2 * part) - 1), offsets + 2 * start);
        _mm512_storeu_si512(sums + r * wide + 2 * start, _mm512_sub_epi32(sum_halves(sum), offset));
      }
    }
    __m512 total = _mm512_setzero_ps();
    for (ptrdiff_t start = 0; start < 2 * pairs; start += 16) {
      v16i s[16], scale[16];
      LIMN_UNROLL for (int r = 0; r < 16; r++) {
        s[r] = (v16i)_mm512_loadu_si512(sums + r * wide + start);
        scale[r] = (v16i)_mm512_loadu_si512(d + r * wide + start);
      }
      v_transpose(s);
      v_transpose(scale);
      const int part = 2 * pairs - start < 16 ? (int)(2 * pairs - start) : 16;
      for (int i = 0; i < part; i++) {
        const ptrdiff_t g = start + i;
        const __m512 scaled = _mm512_mul_ps((__m512)scale[i], _mm512_set1_ps(step));
        total = _mm512_fmadd_ps(
          _mm512_mul_ps(scaled, _mm512_set1_ps(x[g / 8].d[g % 8])), _mm512_cvtepi32_ps((__m512i)s[i]), total);
      }
    }
    _mm512_mask_storeu_ps(y + first, (__mmask16)((1u << count) - 1), total);
  }
}
#endif
