/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reads certificates and the key, and checks that the key is this end's secret. */
#define _GNU_SOURCE
#include "vmm/tls/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <mbedtls/psa_util.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum tls_secrecy { TLS_PUBLIC, TLS_SECRET };

/* A file's text, with the NUL that mbedTLS wants. */
struct tls_file {
	char path[4096];
	size_t len;
	unsigned char text[TLS_FILE_MAX + 1];
};

/* Checks the open file itself, which no name can be changed for any more. */
static int tls_file_check(int fd, const struct tls_file *file, enum tls_secrecy secrecy, struct error *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		error_add(err, "%s is not a file", file->path);
		return -EINVAL;
	}
	if (secrecy == TLS_SECRET && (st.st_mode & 077) != 0) {
		error_add(err,
			  "%s: users other than its owner may access this key (mode %04o): chmod 600 %s, and "
			  "make "
			  "a new key if they could read it",
			  file->path, st.st_mode & 07777, file->path);
		return -EPERM;
	}
	if (secrecy == TLS_SECRET && st.st_uid != geteuid() && st.st_uid != 0) {
		error_add(err, "%s: this key belongs to another user (uid %u)", file->path, st.st_uid);
		return -EPERM;
	}
	return 0;
}

static int tls_file_read(struct tls_file *file, const char *dir, const char *name, enum tls_secrecy secrecy,
			 struct error *err)
{
	int ret = 0;
	int fd;

	if (snprintf(file->path, sizeof(file->path), "%s/%s", dir, name) >= (int)sizeof(file->path)) {
		error_add(err, "the name of the folder with %s is too long", name);
		return -ENAMETOOLONG;
	}
	/* A FIFO must not hold the open up. */
	fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0) {
		ret = -errno;
		error_add(err, "%s: %s", file->path, strerror(errno));
		return ret;
	}
	ret = tls_file_check(fd, file, secrecy, err);
	file->len = 0;
	while (ret == 0) {
		ssize_t n = read(fd, file->text + file->len, sizeof(file->text) - file->len);

		if (n <= 0) {
			ret = n < 0 ? -errno : 0;
			break;
		}
		file->len += (size_t)n;
		if (file->len == sizeof(file->text))
			ret = -EFBIG;
	}
	if (ret == -EFBIG)
		error_add(err, "%s is larger than %u bytes", file->path, TLS_FILE_MAX);
	else if (ret < 0 && ret != -EPERM && ret != -EINVAL)
		error_add(err, "%s: %s", file->path, strerror(-ret));
	file->text[ret < 0 ? 0 : file->len++] = '\0';
	close(fd);
	return ret;
}

static int tls_read_chain(mbedtls_x509_crt *chain, struct tls_file *file, const char *dir, const char *name,
			  struct error *err)
{
	int ret = tls_file_read(file, dir, name, TLS_PUBLIC, err);

	if (ret == 0 && mbedtls_x509_crt_parse(chain, file->text, file->len) != 0) {
		error_add(err, "%s has something else than certificates in PEM", file->path);
		ret = -EINVAL;
	}
	return ret;
}

static int tls_read_key(struct tls_identity *id, struct tls_file *file, const char *dir, struct error *err)
{
	int ret = tls_file_read(file, dir, "key.pem", TLS_SECRET, err);

	if (ret == 0 && mbedtls_pk_parse_key(&id->key, file->text, file->len, NULL, 0, mbedtls_psa_get_random,
					     MBEDTLS_PSA_RANDOM_STATE) != 0) {
		error_add(err, "%s is not a private key in PEM without a password", file->path);
		ret = -EINVAL;
	}
	if (ret == 0 && mbedtls_pk_check_pair(&id->cert.pk, &id->key, mbedtls_psa_get_random,
					      MBEDTLS_PSA_RANDOM_STATE) != 0) {
		error_add(err, "%s is not the key of cert.pem beside it", file->path);
		ret = -EINVAL;
	}
	explicit_bzero(file->text, sizeof(file->text));
	return ret;
}

int tls_identity_init(struct tls_identity *id, const char *dir, struct error *err)
{
	struct tls_file file;
	int ret;

	mbedtls_x509_crt_init(&id->ca);
	mbedtls_x509_crt_init(&id->cert);
	mbedtls_pk_init(&id->key);
	ret = tls_read_chain(&id->ca, &file, dir, "ca.pem", err);
	if (ret == 0)
		ret = tls_read_chain(&id->cert, &file, dir, "cert.pem", err);
	if (ret == 0)
		ret = tls_read_key(id, &file, dir, err);
	if (ret < 0)
		tls_identity_exit(id);
	return ret;
}

void tls_identity_exit(struct tls_identity *id)
{
	mbedtls_pk_free(&id->key);
	mbedtls_x509_crt_free(&id->cert);
	mbedtls_x509_crt_free(&id->ca);
}
