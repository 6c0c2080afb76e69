/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Derives the keys of records, and gives them to the kernel. */
#define _GNU_SOURCE
#include "vmm/tls/kernel.h"

#include <errno.h>
#include <linux/tls.h>
#include <mbedtls/hkdf.h>
#include <mbedtls/md.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

/* Absent from musl's headers of 1.2.3. */
#define TLS_TCP_ULP 31
#define TLS_SOL     282

int tls_kernel_prepare(int fd)
{
	return setsockopt(fd, IPPROTO_TCP, TLS_TCP_ULP, "tls", sizeof("tls")) < 0 ? -errno : 0;
}

/* HKDF-Expand-Label of RFC 8446, section 7.1, with an empty context. */
static int tls_expand(const uint8_t secret[TLS_SECRET_LEN], const char *label, uint8_t *out, size_t len)
{
	uint8_t info[2 + 1 + 6 + 8 + 1];
	size_t n = strlen(label);

	info[0] = 0;
	info[1] = (uint8_t)len;
	info[2] = (uint8_t)(6 + n);
	memcpy(info + 3, "tls13 ", 6);
	memcpy(info + 9, label, n);
	info[9 + n] = 0;
	return mbedtls_hkdf_expand(mbedtls_md_info_from_type(MBEDTLS_MD_SHA256), secret, TLS_SECRET_LEN, info,
				   10 + n, out, len);
}

/* Gives the kernel one direction's keys. */
static int tls_kernel_give(const struct tls_session *s, int direction, const uint8_t secret[TLS_SECRET_LEN])
{
	struct tls12_crypto_info_chacha20_poly1305 info = {
		.info = { .version = TLS_1_3_VERSION, .cipher_type = TLS_CIPHER_CHACHA20_POLY1305 },
	};
	int ret = 0;

	/* Big-endian: the verdict was record 0. */
	info.rec_seq[sizeof(info.rec_seq) - 1] = 1;
	if (tls_expand(secret, "key", info.key, sizeof(info.key)) != 0 ||
	    tls_expand(secret, "iv", info.iv, sizeof(info.iv)) != 0)
		ret = -EINVAL;
	if (ret == 0 && setsockopt(s->fd, TLS_SOL, direction, &info, sizeof(info)) < 0)
		ret = -errno;
	explicit_bzero(&info, sizeof(info));
	return ret;
}

int tls_kernel_start(const struct tls_session *s)
{
	enum tls_role other = s->role == TLS_CONNECT ? TLS_ACCEPT : TLS_CONNECT;

	if (!s->have_secrets[TLS_CONNECT] || !s->have_secrets[TLS_ACCEPT])
		return -EOPNOTSUPP;
	if (tls_kernel_give(s, TLS_RX, s->secrets[other]))
		return -EOPNOTSUPP;
	return tls_kernel_give(s, TLS_TX, s->secrets[s->role]) ? -EIO : 0;
}
