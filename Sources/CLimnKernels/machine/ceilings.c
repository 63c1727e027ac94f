// The most that this machine can do: how fast it reads memory and multiplies, to compare measured speeds with.
#include "amx.h"
#include "kernels.h"
#include "simd.h"
#if defined(__x86_64__)
#include <immintrin.h>
#endif
#if defined(LIMN_EMULATED)
#define IN_REGISTER "+m"  // emulated registers are memory
#else
#define IN_REGISTER "+v"
#endif

enum { STEPS = 4096, CHAINS = 12, TILE_STEPS = 512 };

// MARK: Reading: an item is LIMN_READ_ITEM bytes

static void read_scalar(const void *job, ptrdiff_t begin, ptrdiff_t end, void *scratch) {
  const uint64_t *words = (const uint64_t *)((const char *)job + begin * LIMN_READ_ITEM);
  uint64_t sum = 0;
  for (ptrdiff_t i = 0; i < (end - begin) * LIMN_READ_ITEM / 8; i++) sum += words[i];
  memcpy(scratch, &sum, sizeof sum);
}

LIMN_INLINE void read_body(const void *job, ptrdiff_t begin, ptrdiff_t end, void *scratch) {
  v16i sum[4] = {0};
  for (ptrdiff_t at = begin * LIMN_READ_ITEM; at < end * LIMN_READ_ITEM; at += 256) {
    const char *p = (const char *)job + at;
    LIMN_UNROLL (int i = 0; i < 4; i++) sum[i] += v_load_bytes(p + i * 64);
    LIMN_UNROLL (int i = 0; i < 4; i++) __builtin_prefetch(p + 4096 + i * 64);
  }
  v_store_bytes(scratch, sum[0] + sum[1] + sum[2] + sum[3]);
}
LIMN_KERNEL_INSTANCES(read)

// MARK: Products of 16-bit floats or integers, or of float32 where there are none: an item is STEPS steps of all chains

// The factors come from memory, or pass through an empty assembler statement, so that the compiler can neither skip nor
// merge steps.

static void multiply_scalar(const void *job, ptrdiff_t begin, ptrdiff_t end, void *scratch) {
  const float one = *(const float *)job;
  float sum[4] = {0};
  for (ptrdiff_t step = 0; step < (end - begin) * STEPS; step++)
    for (int c = 0; c < 4; c++) sum[c] = sum[c] * one + one;
  memcpy(scratch, sum, sizeof sum);
}
/// Half as many chains, since AVX2 needs two registers for each.
LIMN_INLINE void multiply_body(const void *job, ptrdiff_t begin, ptrdiff_t end, void *scratch) {
  const v16f one = v_splat(*(const float *)job);
  v16f sum[CHAINS / 2];
  LIMN_UNROLL (int c = 0; c < CHAINS / 2; c++) sum[c] = v_splat((float)c);
  for (ptrdiff_t step = 0; step < (end - begin) * STEPS; step++)
    LIMN_UNROLL (int c = 0; c < CHAINS / 2; c++) sum[c] = v_fma(sum[c], one, one);
  LIMN_UNROLL (int c = 0; c < CHAINS / 2; c++) v_store((float *)scratch + c * 16, sum[c]);
}
LIMN_KERNEL_INSTANCES(multiply)

#if defined(__x86_64__)
/// All chains accumulate products of one number, made opaque to the compiler in every step. Its bits are an ordinary
/// number as bytes, words and bfloat16.
#define LIMN_CHAINS(name, target, vector, place, add)                                       \
  target static void name(const void *job, ptrdiff_t begin, ptrdiff_t end, void *scratch) { \
    (void)job;                                                                              \
    vector sums[CHAINS] = {0}, same;                                                        \
    memset(&same, 0x3f, sizeof same);                                                       \
    for (ptrdiff_t step = 0; step < (end - begin) * STEPS; step++)                          \
      LIMN_UNROLL (int c = 0; c < CHAINS; c++) {                                            \
        __asm__ volatile("" : place(same));                                                 \
        const vector sum = sums[c];                                                         \
        sums[c] = (vector)(add);                                                            \
      }                                                                                     \
    memcpy(scratch, sums, sizeof sums);                                                     \
  }
LIMN_CHAINS(
  multiply_bf16, LIMN_TARGET_BF16, __m512i, IN_REGISTER, _mm512_dpbf16_ps((__m512)sum, (__m512bh)same, (__m512bh)same))
LIMN_CHAINS(multiply_int16_vnni, LIMN_TARGET_VNNI, __m512i, IN_REGISTER, _mm512_dpwssd_epi32(sum, same, same))
LIMN_CHAINS(multiply_int8_vnni, LIMN_TARGET_VNNI, __m512i, IN_REGISTER, _mm512_dpbusd_epi32(sum, same, same))
LIMN_CHAINS(multiply_int16_avx2, LIMN_TARGET_AVX2, __m256i, "+x", _mm256_add_epi32(sum, _mm256_madd_epi16(same, same)))
LIMN_CHAINS(multiply_int8_avx_vnni, LIMN_TARGET_AVX_VNNI, __m256i, "+x", _mm256_dpbusd_avx_epi32(sum, same, same))
// 16-bit sums, as in the products of 4-bit weights.
LIMN_CHAINS(
  multiply_int8_avx2, LIMN_TARGET_AVX2, __m256i, "+x", _mm256_add_epi16(sum, _mm256_maddubs_epi16(same, same)))
/// Four tiles of sums take turns.
#define LIMN_TILE_CHAINS(name, product)                                                              \
  LIMN_TARGET_AMX static void name(const void *job, ptrdiff_t begin, ptrdiff_t end, void *scratch) { \
    (void)job, (void)scratch;                                                                        \
    limn_amx_begin();                                                                                \
    limn_amx_zero();                                                                                 \
    _tile_zero(4);                                                                                   \
    _tile_zero(6);                                                                                   \
    for (ptrdiff_t step = 0; step < (end - begin) * TILE_STEPS; step++) {                            \
      product(0, 4, 6);                                                                              \
      product(1, 4, 6);                                                                              \
      product(2, 4, 6);                                                                              \
      product(3, 4, 6);                                                                              \
    }                                                                                                \
    limn_amx_end();                                                                                  \
  }
LIMN_TILE_CHAINS(multiply_bf16_amx, _tile_dpbf16ps)
LIMN_TILE_CHAINS(multiply_int8_amx, _tile_dpbusd)
#endif

void limn_install_ceilings(limn_kernels *kernels) {
  const limn_isa isa = kernels->isa;
  kernels->read = LIMN_PICK(isa, read);
  kernels->multiply_16 = kernels->multiply_8 = LIMN_PICK(isa, multiply);
  kernels->operations_16 = kernels->operations_8 = 2.0 * STEPS * (isa == LIMN_SCALAR ? 4 : CHAINS / 2 * 16);
#if defined(__x86_64__)
  const double two = 2.0 * STEPS * CHAINS;  // a multiplication and an addition
  if (isa == LIMN_AVX512 && (limn_has_bf16() || limn_has_vnni())) {
    kernels->multiply_16 = limn_has_bf16() ? multiply_bf16 : multiply_int16_vnni;
    kernels->operations_16 = two * 32;
  } else if (isa == LIMN_AVX2) {
    kernels->multiply_16 = multiply_int16_avx2;
    kernels->operations_16 = two * 16;
  }
  if (isa == LIMN_AVX512 && limn_has_vnni()) {
    kernels->multiply_8 = multiply_int8_vnni;
    kernels->operations_8 = two * 64;
  } else if (isa == LIMN_AVX512 || isa == LIMN_AVX2) {
    kernels->multiply_8 = isa == LIMN_AVX2 && limn_has_avx_vnni() ? multiply_int8_avx_vnni : multiply_int8_avx2;
    kernels->operations_8 = two * 32;
  }
  if (isa == LIMN_AVX512 && limn_has_amx()) {
    kernels->multiply_16 = multiply_bf16_amx;
    kernels->operations_16 = 2.0 * TILE_STEPS * 4 * 16 * 16 * 32;
    kernels->multiply_8 = multiply_int8_amx;
    kernels->operations_8 = 2 * kernels->operations_16;
  }
#endif
}
