/* SPDX-License-Identifier: GPL-2.0-or-later */
/* CPU features as text: see the header. */
#include "vmm/x86/cpu_baseline.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* What no x86-64 Linux can do without: a file that was cut short, or is another, lacks it. */
#define BASELINE_NEEDED                                                                                      \
	"features 0x1.0 edx fpu tsc msr pae cx8 apic pge cmov fxsr sse sse2\n"                               \
	"features 0x80000001.0 edx syscall nx lm\n"

/* What every x86-64 CPU has, and KVM's own, of all that this Ferry runs on. */
#define BASELINE_KVM                                                                                         \
	"address-bits 39\n"                                                                                  \
	"features 0x1.0 ecx x2apic tsc_deadline_timer hypervisor\n"                                          \
	"features 0x1.0 edx fpu vme de pse tsc msr pae cx8 apic sep mtrr pge cmov pat pse36 clflush mmx "    \
	"fxsr sse sse2\n"                                                                                    \
	"features 0x6.0 eax arat\n"                                                                          \
	"features 0x7.0 ebx tsc_adjust\n"                                                                    \
	"features 0x40000001.0 eax kvm_clock_old kvm_nop_io_delay kvm_clock kvm_async_pf kvm_pv_eoi "        \
	"kvm_pv_unhalt kvm_pv_tlb_flush kvm_async_pf_vmexit kvm_pv_send_ipi kvm_poll_control "               \
	"kvm_pv_sched_yield kvm_async_pf_int kvm_clock_stable\n"                                             \
	"features 0x80000001.0 edx syscall nx lm\n"

/* Levels of the x86-64 psABI, section "Micro-Architecture Levels". */
#define BASELINE_V2                                                                                          \
	BASELINE_KVM                                                                                         \
	"features 0x1.0 ecx sse3 ssse3 cx16 sse4_1 sse4_2 popcnt\n"                                          \
	"features 0x80000001.0 ecx lahf_lm\n"
#define BASELINE_V3                                                                                          \
	BASELINE_V2                                                                                          \
	"features 0x1.0 ecx fma movbe xsave avx f16c\n"                                                      \
	"features 0x7.0 ebx bmi1 avx2 bmi2\n"                                                                \
	"features 0xd.0 eax xcr0_x87 xcr0_sse xcr0_avx\n"                                                    \
	"features 0x80000001.0 ecx abm\n"
#define BASELINE_V4                                                                                          \
	BASELINE_V3                                                                                          \
	"features 0x7.0 ebx avx512f avx512dq avx512cd avx512bw avx512vl\n"                                   \
	"features 0xd.0 eax xcr0_opmask xcr0_zmm_hi256 xcr0_hi16_zmm\n"

static const struct {
	const char *name;
	const char *text;
} baseline_levels[] = {
	{ "x86-64-v2", BASELINE_V2 },
	{ "x86-64-v3", BASELINE_V3 },
	{ "x86-64-v4", BASELINE_V4 },
};

static void baseline_put(char text[CPU_BASELINE_TEXT_MAX], const char *before, const char *word)
{
	size_t len = strlen(text);

	snprintf(text + len, CPU_BASELINE_TEXT_MAX - len, "%s%s", before, word);
}

static void baseline_put_word(char text[CPU_BASELINE_TEXT_MAX], const struct cpuid_word *word, uint32_t bits)
{
	char place[40];

	snprintf(place, sizeof(place), "0x%x.%u %s", word->function, word->index, cpuid_reg_names[word->reg]);
	baseline_put(text, "features ", place);
	for (unsigned int bit = 0; bit < 32; bit++) {
		const char *name = cpuid_word_name(word, bit);

		if (bits >> bit & 1 && name)
			baseline_put(text, " ", name);
	}
	baseline_put(text, "\n", "");
}

void cpu_baseline_print(const struct cpuid_offer *offer, char text[CPU_BASELINE_TEXT_MAX])
{
	unsigned int n_words;
	const struct cpuid_word *words = cpuid_get_words(&n_words);
	char number[64];

	text[0] = '\0';
	if (offer->vendor[0]) {
		baseline_put(text, "vendor ", offer->vendor);
		baseline_put(text, "\n", "");
	}
	if (offer->address_bits > 0) {
		snprintf(number, sizeof(number), "address-bits %u\n", offer->address_bits);
		baseline_put(text, "", number);
	}
	for (unsigned int i = 0; i < n_words; i++) {
		if (offer->words[i])
			baseline_put_word(text, &words[i], offer->words[i]);
	}
	if (offer->arch_capabilities) {
		snprintf(number, sizeof(number), "arch-capabilities 0x%" PRIx64 "\n",
			 offer->arch_capabilities);
		baseline_put(text, "", number);
	}
}

/* Reads a whole number up to @max, with 0x before hexadecimal digits. */
static int baseline_number(const char *text, uint64_t max, uint64_t *v)
{
	char *end;

	if (!text || *text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	*v = strtoull(text, &end, 0);
	return errno || *end || *v > max ? -EINVAL : 0;
}

/* Finds the word of "0x7.0" and "ebx". Returns its index, or -EINVAL. */
static int baseline_find_word(char *leaf, const char *reg)
{
	unsigned int n_words;
	const struct cpuid_word *words = cpuid_get_words(&n_words);
	char *dot = leaf ? strchr(leaf, '.') : NULL;
	uint64_t function, index;

	if (!dot || !reg)
		return -EINVAL;
	*dot = '\0';
	if (baseline_number(leaf, UINT32_MAX, &function) < 0 ||
	    baseline_number(dot + 1, UINT32_MAX, &index) < 0)
		return -EINVAL;
	for (unsigned int i = 0; i < n_words; i++) {
		if (words[i].function == function && words[i].index == index &&
		    strcmp(cpuid_reg_names[words[i].reg], reg) == 0)
			return (int)i;
	}
	return -EINVAL;
}

static int baseline_parse_features(struct cpuid_offer *offer, char **save, struct error *err)
{
	unsigned int n;
	const struct cpuid_feature *features = cpuid_get_table(&n);
	char *leaf = strtok_r(NULL, " \t", save), *reg = strtok_r(NULL, " \t", save), *name;
	int i = baseline_find_word(leaf, reg);

	if (i < 0) {
		error_add(err,
			  "no features of this Ferry's are there: a leaf and a register of CPUID, such as "
			  "\"0x7.0 ebx\"");
		return -EINVAL;
	}
	while ((name = strtok_r(NULL, " \t", save))) {
		const struct cpuid_feature *f = features;

		while (f < features + n && (f->word != i || strcmp(f->name, name) != 0))
			f++;
		if (f == features + n) {
			error_add(err, "\"%s\" is no CPU feature that this Ferry knows there", name);
			return -EINVAL;
		}
		offer->words[i] |= 1u << f->bit;
	}
	return 0;
}

static int baseline_parse_vendor(struct cpuid_offer *offer, char **save, struct error *err)
{
	const char *name = strtok_r(NULL, " \t", save);

	if (!name || strlen(name) >= sizeof(offer->vendor)) {
		error_add(err, "a CPU's vendor has 1 to %zu letters", sizeof(offer->vendor) - 1);
		return -EINVAL;
	}
	snprintf(offer->vendor, sizeof(offer->vendor), "%s", name);
	return 0;
}

static int baseline_parse_address_bits(struct cpuid_offer *offer, char **save, struct error *err)
{
	uint64_t bits;

	if (baseline_number(strtok_r(NULL, " \t", save), 52, &bits) < 0 || bits < 32) {
		error_add(err, "a physical address has 32 to 52 bits");
		return -EINVAL;
	}
	offer->address_bits = (uint32_t)bits;
	return 0;
}

static int baseline_parse_capabilities(struct cpuid_offer *offer, char **save, struct error *err)
{
	if (baseline_number(strtok_r(NULL, " \t", save), UINT64_MAX, &offer->arch_capabilities) == 0)
		return 0;
	error_add(err, "a number is needed, such as 0x2b");
	return -EINVAL;
}

static const struct {
	const char *word;
	int (*parse)(struct cpuid_offer *offer, char **save, struct error *err);
} baseline_lines[] = {
	{ "vendor", baseline_parse_vendor },
	{ "address-bits", baseline_parse_address_bits },
	{ "features", baseline_parse_features },
	{ "arch-capabilities", baseline_parse_capabilities },
};

static int baseline_parse_line(struct cpuid_offer *offer, char *line, struct error *err)
{
	char *save, *word;

	line[strcspn(line, "#")] = '\0';
	word = strtok_r(line, " \t", &save);
	if (!word)
		return 0;
	for (unsigned int i = 0; i < ARRAY_SIZE(baseline_lines); i++) {
		int ret;

		if (strcmp(baseline_lines[i].word, word) != 0)
			continue;
		ret = baseline_lines[i].parse(offer, &save, err);
		if (ret == 0 && strtok_r(NULL, " \t", &save)) {
			error_add(err, "more than \"%s\" takes", word);
			ret = -EINVAL;
		}
		return ret;
	}
	error_add(err,
		  "\"%s\" is not known: vendor, address-bits, features or arch-capabilities are possible",
		  word);
	return -EINVAL;
}

int cpu_baseline_parse(struct cpuid_offer *offer, char *text, const char *name, struct error *err)
{
	char *line = text, *next;

	*offer = (struct cpuid_offer){ 0 };
	for (unsigned int n = 1; line; n++, line = next) {
		struct error reason = { 0 };

		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		if (baseline_parse_line(offer, line, &reason) < 0) {
			error_add(err, "%s, line %u: %s", name, n, reason.text);
			return -EINVAL;
		}
	}
	return 0;
}

/* Checks that a guest can start with @offer. */
static int baseline_check_needed(const struct cpuid_offer *offer, const char *name, struct error *err)
{
	char text[] = BASELINE_NEEDED;
	struct cpuid_names missing = { 0 };
	struct cpuid_offer needed;
	unsigned int n_words;
	const struct cpuid_word *words = cpuid_get_words(&n_words);
	int ret = cpu_baseline_parse(&needed, text, "needed", err);

	for (unsigned int i = 0; ret == 0 && i < 32 * n_words; i++) {
		if ((needed.words[i / 32] & ~offer->words[i / 32]) >> i % 32 & 1)
			cpuid_names_add(&missing, cpuid_word_name(&words[i / 32], i % 32));
	}
	if (missing.n > 0) {
		error_add(err, "%s lacks CPU features without which no guest starts: %s", name, missing.text);
		ret = -EINVAL;
	}
	return ret;
}

static int baseline_read(int fd, char *text, size_t max, const char *path, struct error *err)
{
	size_t len = 0;
	ssize_t n;

	do {
		n = read(fd, text + len, max - len);
		len += n > 0 ? (size_t)n : 0;
	} while (n > 0 && len < max);
	if (n < 0) {
		error_add(err, "cannot read %s: %s", path, strerror(errno));
		return -errno;
	}
	if (len == max || memchr(text, '\0', len)) {
		error_add(err, "%s is no description of CPUs, as \"ferry cpu\" prints it", path);
		return -EINVAL;
	}
	text[len] = '\0';
	return 0;
}

static int baseline_load_file(struct cpuid_offer *offer, const char *path, struct error *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), ret;
	char *text;

	if (fd < 0) {
		error_add(err, "cannot open %s: %s", path, strerror(errno));
		return -errno;
	}
	text = malloc(CPU_BASELINE_FILE_MAX);
	if (!text) {
		error_add(err, "out of memory for %s", path);
		close(fd);
		return -ENOMEM;
	}
	ret = baseline_read(fd, text, CPU_BASELINE_FILE_MAX, path, err);
	close(fd);
	if (ret == 0)
		ret = cpu_baseline_parse(offer, text, path, err);
	free(text);
	return ret < 0 ? ret : baseline_check_needed(offer, path, err);
}

int cpu_baseline_load(struct cpuid_offer *offer, const char *from, struct error *err)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(baseline_levels); i++) {
		char text[CPU_BASELINE_TEXT_MAX];

		if (strcmp(baseline_levels[i].name, from) != 0)
			continue;
		snprintf(text, sizeof(text), "%s", baseline_levels[i].text);
		return cpu_baseline_parse(offer, text, from, err);
	}
	return baseline_load_file(offer, from, err);
}

int cpu_baseline_intersect(struct cpuid_offer *offer, const struct cpuid_offer *other, struct error *err)
{
	unsigned int n_words;
	const struct cpuid_word *words = cpuid_get_words(&n_words);

	if (offer->vendor[0] && other->vendor[0] && strcmp(offer->vendor, other->vendor) != 0) {
		error_add(err, "one CPU is of %s, another of %s: a guest cannot move between them",
			  offer->vendor, other->vendor);
		return -ENOTSUP;
	}
	if (!offer->vendor[0])
		memcpy(offer->vendor, other->vendor, sizeof(offer->vendor));
	if (offer->address_bits == 0 ||
	    (other->address_bits > 0 && other->address_bits < offer->address_bits))
		offer->address_bits = other->address_bits;
	for (unsigned int i = 0; i < n_words; i++)
		offer->words[i] = (offer->words[i] & other->words[i]) |
				  ((offer->words[i] | other->words[i]) & cpuid_word_inverted(&words[i]));
	offer->arch_capabilities =
		(offer->arch_capabilities & other->arch_capabilities) |
		((offer->arch_capabilities | other->arch_capabilities) & CPUID_ARCH_CAP_INVERTED);
	return 0;
}
