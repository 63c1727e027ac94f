// Which instruction sets this machine has, and the kernels of one of them.
#include "kernels.h"

#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

enum { KNOWN = 1, AVX2 = 2, AVX_VNNI = 4, AVX512 = 8, VNNI = 16, BF16 = 32, AMX = 64 };

#if defined(__x86_64__)
#include <cpuid.h>

/// The bits of the register state that the operating system saves and restores.
static uint64_t saved_state(void) {
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (uint64_t)high << 32 | low;
}

#if !defined(LIMN_EMULATED)
/// Intel's bfloat16 products are slow without AMX: on two cores of an Emerald Rapids they reach 160 GFLOP/s, float32
/// 140 to 240, 16-bit integers 280 to 310.
static int is_intel(void) {
  uint32_t a, b, c, d;
  return __get_cpuid(0, &a, &b, &c, &d) && b == signature_INTEL_ebx && c == signature_INTEL_ecx
    && d == signature_INTEL_edx;
}
#endif

static int detect(void) {
  uint32_t a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return 0;
  const int osxsave = c >> 27 & 1, avx = c >> 28 & 1, fma = c >> 12 & 1, f16c = c >> 29 & 1;
  if (!osxsave || !avx) return 0;
  const uint64_t state = saved_state();
  uint32_t leaves, b7, c7, d7, a71 = 0;
  if (!__get_cpuid_count(7, 0, &leaves, &b7, &c7, &d7)) return 0;
  if (leaves >= 1 && !__get_cpuid_count(7, 1, &a71, &b, &c, &d)) a71 = 0;
  if ((state & 0x6) != 0x6 || !fma || !f16c || !(b7 >> 5 & 1)) return 0;
#if defined(LIMN_EMULATED)  // 1: no VNNI, no BF16; 2: VNNI; 3: VNNI and BF16; 4: AMX as well
  return AVX2 | AVX512 | (LIMN_EMULATED > 1 ? VNNI | AVX_VNNI : 0) | (LIMN_EMULATED > 2 ? BF16 : 0)
    | (LIMN_EMULATED > 3 ? AMX : 0);
#else
  const int found = AVX2 | (a71 >> 4 & 1 ? AVX_VNNI : 0);
  const uint32_t wanted = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31;  // F, DQ, BW, VL
  if ((state & 0xe6) != 0xe6 || (b7 & wanted) != wanted) return found;
  const int vnni = c7 >> 11 & 1, bf16 = a71 >> 5 & 1;
  const uint32_t tiles = 1u << 22 | 1u << 24 | 1u << 25;  // AMX-BF16, AMX-TILE, AMX-INT8
  const int amx = vnni && bf16 && (d7 & tiles) == tiles && (state & 0x60000) == 0x60000 && limn_amx_allowed();
  return found | AVX512 | (vnni ? VNNI : 0) | (bf16 && (amx || !is_intel()) ? BF16 : 0) | (amx ? AMX : 0);
#endif
}
#else
static int detect(void) { return 0; }
#endif

/// The processor is asked once: in a virtual machine every CPUID is a trap.
static int has(int feature) {
  static _Atomic int known;
  int found = known;
  if (!found) known = found = detect() | KNOWN;
  return (found & feature) != 0;
}

int limn_isa_supported(limn_isa isa) {
  switch (isa) {
    case LIMN_SCALAR: return 1;
#if defined(__x86_64__)
    case LIMN_AVX2: return has(AVX2);
    case LIMN_AVX512: return has(AVX512);
#elif defined(__aarch64__)
    case LIMN_NEON: return 1;
#endif
    default: return 0;
  }
}

int limn_has_vnni(void) { return has(VNNI); }
int limn_has_avx_vnni(void) { return has(AVX_VNNI); }
int limn_has_bf16(void) { return has(BF16); }
int limn_has_amx(void) { return has(AMX); }

int limn_has_dotprod(void) {
#if defined(__aarch64__) && defined(__linux__)
  return getauxval(AT_HWCAP) >> 20 & 1;  // HWCAP_ASIMDDP
#elif defined(__aarch64__) && defined(__APPLE__)
  return 1;  // all ARM Macs have it
#else
  return 0;
#endif
}

const char *limn_isa_name(limn_isa isa) {
  static const char *const names[] = {"scalar", "neon", "avx2", "avx512"};
  return names[isa];
}

int limn_kernels_init(limn_kernels *kernels, limn_isa isa) {
  if (!limn_isa_supported(isa)) return 0;
  *kernels = (limn_kernels){.isa = isa};
  limn_install_linear(kernels);
  limn_install_norm(kernels);
  limn_install_rope(kernels);
  limn_install_kv(kernels);
  limn_install_attention(kernels);
  limn_install_attention_in_place(kernels);
  limn_install_activation(kernels);
  limn_install_ceilings(kernels);
  limn_install_low_rank(kernels);
  limn_install_bitsandbytes(kernels);
  limn_install_grouped(kernels);
  return 1;
}
