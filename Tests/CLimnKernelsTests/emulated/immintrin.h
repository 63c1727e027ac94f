// The instructions beyond AVX2 that the kernels use, computed by SIMDe (https://github.com/simd-everywhere/simde) for a
// processor that has AVX2 only: `make test-x86` puts this in the place of the compiler's header. What that library does
// not have is here.
#pragma once
#pragma clang diagnostic ignored "-Wpsabi"
#pragma clang diagnostic ignored "-Wgnu-include-next"
#include_next <immintrin.h>
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>
#include <string.h>

// AVX-VNNI has the same products in AVX2's registers.
#undef _mm256_dpbusd_avx_epi32
#define _mm256_dpbusd_avx_epi32 simde_mm256_dpbusd_epi32
#undef _mm256_dpwssd_avx_epi32
#define _mm256_dpwssd_avx_epi32 simde_mm256_dpwssd_epi32

#define EMULATED static inline __attribute__((always_inline, target("avx2,fma,f16c")))

#undef _mm512_cvtepi32_ps
#define _mm512_cvtepi32_ps emulated_cvtepi32_ps
EMULATED __m512 emulated_cvtepi32_ps(__m512i whole) {
  typedef int32_t v16i __attribute__((vector_size(64)));
  return (__m512) __builtin_convertvector((v16i)whole, __m512);
}

#undef _mm512_cvtph_ps
#define _mm512_cvtph_ps emulated_cvtph_ps
EMULATED __m512 emulated_cvtph_ps(__m256i halves) {
  __m512 out;
  const __m256 parts[2] = {
    _mm256_cvtph_ps(_mm256_castsi256_si128(halves)), _mm256_cvtph_ps(_mm256_extracti128_si256(halves, 1))};
  memcpy(&out, parts, sizeof out);
  return out;
}

/// Rounded to nearest even; numbers too small for a normal float become zero, NaN stays NaN.
EMULATED uint16_t emulated_bfloat16(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  const uint32_t size = bits & 0x7fffffff;
  if (size > 0x7f800000) return (uint16_t)(bits >> 16 | 0x40);
  if (size < 0x00800000) return (uint16_t)(bits >> 16 & 0x8000);
  return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

// Vectors of bfloat16 are plain bits here: compilers compute with them in float32 if the processor has none.
#define __m512bh __m512i
#undef _mm512_cvtneps_pbh
#define _mm512_cvtneps_pbh emulated_cvtneps_pbh
EMULATED __m256i emulated_cvtneps_pbh(__m512 values) {
  __m256i out;
  uint16_t rounded[16];
  for (int i = 0; i < 16; i++) rounded[i] = emulated_bfloat16(values[i]);
  memcpy(&out, rounded, sizeof out);
  return out;
}

#undef _mm512_cvtne2ps_pbh
#define _mm512_cvtne2ps_pbh emulated_cvtne2ps_pbh
EMULATED __m512i emulated_cvtne2ps_pbh(__m512 high, __m512 low) {
  __m512i out;
  const __m256i parts[2] = {emulated_cvtneps_pbh(low), emulated_cvtneps_pbh(high)};
  memcpy(&out, parts, sizeof out);
  return out;
}

#undef _mm512_dpbf16_ps
#define _mm512_dpbf16_ps emulated_dpbf16_ps
EMULATED __m512 emulated_dpbf16_ps(__m512 sum, __m512i a, __m512i b) {
  typedef uint32_t v16u __attribute__((vector_size(64)));
  const v16u x = (v16u)a, y = (v16u)b;
  sum += (__m512)(x & 0xffff0000) * (__m512)(y & 0xffff0000);
  return sum + (__m512)(x << 16) * (__m512)(y << 16);
}

/// Reads only the elements in the mask.
EMULATED __m512 emulated_masked(__mmask16 mask, const void *from) {
  float values[16] = {0};
  for (int i = 0; i < 16; i++)
    if (mask >> i & 1) memcpy(values + i, (const char *)from + i * sizeof(float), sizeof(float));
  __m512 out;
  memcpy(&out, values, sizeof out);
  return out;
}
#undef _mm512_maskz_loadu_ps
#define _mm512_maskz_loadu_ps(mask, from) emulated_masked(mask, from)
#undef _mm512_maskz_loadu_epi32
#define _mm512_maskz_loadu_epi32(mask, from) ((__m512i)emulated_masked(mask, from))

/// Two quarters of a, and two of b.
#undef _mm512_shuffle_i64x2
#define EMULATED_QUARTER(which, n) (2 * ((which) >> (2 * n) & 3))
#define _mm512_shuffle_i64x2(a, b, which)                                                       \
  ((__m512i)__builtin_shufflevector(                                                            \
    (__m512i)(a), (__m512i)(b), EMULATED_QUARTER(which, 0), EMULATED_QUARTER(which, 0) + 1,     \
    EMULATED_QUARTER(which, 1), EMULATED_QUARTER(which, 1) + 1, 8 + EMULATED_QUARTER(which, 2), \
    9 + EMULATED_QUARTER(which, 2), 8 + EMULATED_QUARTER(which, 3), 9 + EMULATED_QUARTER(which, 3)))

#undef _mm512_zextsi256_si512
#define _mm512_zextsi256_si512(low) \
  ((__m512i)__builtin_shufflevector((__m256i)(low), (__m256i){0}, 0, 1, 2, 3, 4, 5, 6, 7))

// AMX. Tiles have their full size, as the kernels configure them; each thread has its own tiles, shared by all files of a
// program.
struct emulated_tiles {
  int is_set_up;
  char rows[8][16][64];
};
__attribute__((weak)) __thread struct emulated_tiles emulated_tiles;
EMULATED void emulated_tile_check(void) {
  if (!emulated_tiles.is_set_up) __builtin_trap();
}
EMULATED void emulated_tile_load(int tile, const char *from, size_t stride) {
  emulated_tile_check();
  for (int row = 0; row < 16; row++) memcpy(emulated_tiles.rows[tile][row], from + row * stride, 64);
}
EMULATED void emulated_tile_store(int tile, char *to, size_t stride) {
  emulated_tile_check();
  for (int row = 0; row < 16; row++) memcpy(to + row * stride, emulated_tiles.rows[tile][row], 64);
}
/// sums[m][n] += Σ a[m][4k + i] · b[k][4n + i], unsigned times signed.
EMULATED void emulated_tile_dpbusd(int sums, int a, int b) {
  emulated_tile_check();
  int32_t factors[64][16];  // [column][n]
  for (int k = 0; k < 64; k++)
    for (int n = 0; n < 16; n++) factors[k][n] = (int8_t)emulated_tiles.rows[b][k / 4][4 * n + k % 4];
  for (int m = 0; m < 16; m++) {
    int32_t sum[16];
    memcpy(sum, emulated_tiles.rows[sums][m], sizeof sum);
    for (int k = 0; k < 64; k++)
      for (int n = 0; n < 16; n++) sum[n] += (uint8_t)emulated_tiles.rows[a][m][k] * factors[k][n];
    memcpy(emulated_tiles.rows[sums][m], sum, sizeof sum);
  }
}
EMULATED float emulated_from_bfloat16(const char *at) {
  uint16_t half;
  memcpy(&half, at, 2);
  const uint32_t bits = (uint32_t)half << 16;
  float value;
  memcpy(&value, &bits, 4);
  return value;
}
/// The even and odd columns are summed separately.
EMULATED void emulated_tile_dpbf16ps(int sums, int a, int b) {
  emulated_tile_check();
  float factors[32][16];  // [column][n]
  for (int k = 0; k < 32; k++)
    for (int n = 0; n < 16; n++)
      factors[k][n] = emulated_from_bfloat16(emulated_tiles.rows[b][k / 2] + 4 * n + k % 2 * 2);
  for (int m = 0; m < 16; m++) {
    float sum[16], parts[2][16] = {{0}};
    for (int k = 0; k < 32; k++) {
      const float x = emulated_from_bfloat16(emulated_tiles.rows[a][m] + 2 * k);
      for (int n = 0; n < 16; n++) parts[k % 2][n] += x * factors[k][n];
    }
    memcpy(sum, emulated_tiles.rows[sums][m], sizeof sum);
    for (int n = 0; n < 16; n++) sum[n] += parts[0][n] + parts[1][n];
    memcpy(emulated_tiles.rows[sums][m], sum, sizeof sum);
  }
}
#undef _tile_loadconfig
#undef _tile_release
#undef _tile_zero
#undef _tile_loadd
#undef _tile_stored
#undef _tile_dpbusd
#undef _tile_dpbf16ps
#define _tile_loadconfig(config) (void)(config), emulated_tiles.is_set_up = 1
#define _tile_release() (emulated_tiles.is_set_up = 0)
#define _tile_zero(tile) memset(emulated_tiles.rows[tile], 0, sizeof emulated_tiles.rows[tile])
#define _tile_loadd(tile, from, stride) emulated_tile_load(tile, (const char *)(from), stride)
#define _tile_stored(tile, to, stride) emulated_tile_store(tile, (char *)(to), stride)
#define _tile_dpbusd(sums, a, b) emulated_tile_dpbusd(sums, a, b)
#define _tile_dpbf16ps(sums, a, b) emulated_tile_dpbf16ps(sums, a, b)
