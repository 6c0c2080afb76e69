/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who gets a connection from ferry-tls and who does not, and what each end is told. */
#define _GNU_SOURCE
#include "tls_fixture.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static void assert_says(const struct helper *h, const char *words)
{
	assert_int_equal(h->result.outcome, TLS_REFUSED);
	assert_int_equal(h->fd, -1);
	if (!strstr(h->result.reason.text, words))
		fail_msg("\"%s\" lacks \"%s\"", h->result.reason.text, words);
}

/* Lets @client connect as @host says to @server, which wants @peer if that is not NULL. Both refuse. */
static void refuse(const char *client, const char *server, const char *host, const char *peer,
		   const char *client_words, const char *server_words)
{
	struct helper a, b;
	int tcp[2];

	tcp_pair(tcp);
	helper_start(&a, "connect", client, tcp[0], "--host", host, NULL);
	helper_start(&b, "accept", server, tcp[1], peer ? "--peer" : NULL, peer, NULL);
	helper_wait(&a);
	helper_wait(&b);
	assert_says(&a, client_words);
	assert_says(&b, server_words);
	assert_int_equal(helper_end(&a), 1);
	assert_int_equal(helper_end(&b), 1);
}

static void two_hosts_of_the_manuals_ca_get_a_connection(void **state)
{
	struct helper a, b;
	char buf[6];

	connect_two(&a, &b);
	assert_string_equal(a.result.peer, "hostb");
	assert_string_equal(b.result.peer, "hosta");
	assert_int_equal(send(a.fd, "there", 6, 0), 6);
	assert_int_equal(recv(b.fd, buf, 6, MSG_WAITALL), 6);
	assert_string_equal(buf, "there");
	assert_int_equal(send(b.fd, "again", 6, 0), 6);
	assert_int_equal(recv(a.fd, buf, 6, MSG_WAITALL), 6);
	assert_string_equal(buf, "again");
	assert_int_equal(helper_end(&a), 0);
	assert_int_equal(helper_end(&b), 0);
}

/* More descriptors on their way than a process may have that is limited as ferry-tls is. */
#define N_UNDER_WAY 8u

/* A process of the user who ferry-tls is, with descriptors that nobody takes until it ends. */
static pid_t put_descriptors_under_way(void)
{
	const struct tls_result result = { .outcome = TLS_PUMP, .peer = "x" };
	int pair[2], ready[2];
	pid_t pid;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		if (geteuid() == 0 && setresuid(65534, 65534, 65534) < 0)
			_exit(1);
		if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) < 0)
			_exit(2);
		for (unsigned int i = 0; i < N_UNDER_WAY; i++) {
			if (tls_result_send(pair[0], &result, STDERR_FILENO) < 0)
				_exit(3);
		}
		if (write(ready[1], "", 1) == 1)
			pause();
		_exit(0);
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &(char){ 0 }, 1), 1);
	close(ready[0]);
	return pid;
}

/* The kernel counts a user's descriptors that are on their way, whoever has sent them. */
static void what_others_have_on_its_way_is_waited_for(void **state)
{
	pid_t other = put_descriptors_under_way();
	struct helper a, b;
	struct pollfd fds[2];
	int tcp[2];

	tcp_pair(tcp);
	helper_start(&a, "connect", "hosta", tcp[0], "--host", "hostb", NULL);
	helper_start(&b, "accept", "hostb", tcp[1], NULL);
	fds[0] = (struct pollfd){ .fd = a.result_fd, .events = POLLIN };
	fds[1] = (struct pollfd){ .fd = b.result_fd, .events = POLLIN };
	assert_int_equal(poll(fds, 2, 500), 0);
	kill(other, SIGKILL);
	assert_int_equal(waitpid(other, NULL, 0), other);
	helper_wait(&a);
	helper_wait(&b);
	assert_string_equal(a.result.reason.text, "");
	assert_string_equal(b.result.reason.text, "");
	assert_true(a.fd >= 0 && b.fd >= 0);
	assert_int_equal(helper_end(&a), 0);
	assert_int_equal(helper_end(&b), 0);
}

static void names_are_dns_names_and_addresses_and_each_that_is_wanted_is_checked(void **state)
{
	struct helper a, b;
	int tcp[2];

	tcp_pair(tcp);
	helper_start(&a, "connect", "hosta", tcp[0], "--host", "192.0.2.2", "--peer", "HostB", NULL);
	helper_start(&b, "accept", "hostb", tcp[1], "--peer", "192.0.2.1", NULL);
	helper_wait(&a);
	helper_wait(&b);
	assert_string_equal(a.result.reason.text, "");
	assert_string_equal(a.result.peer, "HostB");
	assert_string_equal(b.result.peer, "192.0.2.1");
	assert_int_equal(helper_end(&a), 0);
	assert_int_equal(helper_end(&b), 0);
}

static void a_wrong_name_is_refused_at_both_ends(void **state)
{
	refuse("hosta", "hostb", "hostc", NULL, "the certificate is of hostb, and hostc is wanted",
	       "refuses this one: the certificate is of hostb, and hostc is wanted");
	refuse("hosta", "hostb", "192.0.2.22", NULL, "is of hostb, and 192.0.2.22 is wanted",
	       "refuses this one: the certificate is of hostb");
	refuse("hosta", "hostb", "hostb", "hostc",
	       "refuses this one: the certificate is of hosta, and hostc is wanted",
	       "the certificate is of hosta, and hostc is wanted");
	refuse("hosta", "hostb", "host", NULL, "host is wanted", "host is wanted");
}

static void a_common_name_is_no_name(void **state)
{
	refuse("nameless", "hostb", "hostb", NULL, "refuses this one: the certificate has no name",
	       "the certificate has no name");
	refuse("hostb", "nameless", "hosta", NULL, "the certificate has no name",
	       "the certificate has no name");
}

static void a_certificate_of_another_ca_is_refused_at_both_ends(void **state)
{
	/* Each of the two trusts the other no more than the other way round. */
	refuse("other", "hostb", "hostb", NULL, "the other end is refused: the certificate is not from a CA",
	       "the other end is refused: the certificate is not from a CA");
	/* And one that trusts the other without being trusted. */
	assert_int_equal(system("cp -r other mixed && cp ca.pem mixed"), 0);
	refuse("mixed", "hostb", "hostb", NULL, "refuses this one: the certificate is not from a CA",
	       "the other end is refused: the certificate is not from a CA");
	refuse("hosta", "mixed", "hosta", NULL, "the other end is refused: the certificate is not from a CA",
	       "refuses this one: the certificate is not from a CA");
}

static void a_certificate_that_has_expired_is_refused_at_both_ends(void **state)
{
	refuse("expired", "hostb", "hostb", NULL, "refuses this one: the certificate has expired",
	       "the other end is refused: the certificate has expired");
	refuse("hosta", "expired", "expired", NULL, "the other end is refused: the certificate has expired",
	       "refuses this one: the certificate has expired");
}

static void a_certificate_that_is_not_valid_yet_is_refused_at_both_ends(void **state)
{
	refuse("future", "hostb", "hostb", NULL, "refuses this one: the certificate is not valid yet",
	       "the other end is refused: the certificate is not valid yet");
	refuse("hosta", "future", "future", NULL,
	       "the other end is refused: the certificate is not valid yet",
	       "refuses this one: the certificate is not valid yet");
}

/* Lets @command connect to a ferry-tls of hostb. */
static void stranger(const char *command, const char *server_words, const char *stranger_words)
{
	struct helper b;
	pid_t pid;
	int fd = stranger_start(&pid, command);

	helper_start(&b, "accept", "hostb", fd, NULL);
	helper_wait(&b);
	assert_says(&b, server_words);
	assert_int_equal(helper_end(&b), 1);
	stranger_end(pid);
	assert_true(stranger_said(stranger_words));
}

static void a_client_without_a_certificate_is_refused_at_both_ends(void **state)
{
	stranger("openssl s_client -ign_eof -connect 127.0.0.1:$1 -CAfile ca.pem -tls1_3",
		 "the other end is refused: no certificate was sent", "no certificate was sent");
}

static void an_older_tls_and_another_cipher_are_refused(void **state)
{
	stranger("openssl s_client -connect 127.0.0.1:$1 -tls1_2", "does not speak TLS 1.3",
		 "alert protocol version");
	stranger("openssl s_client -connect 127.0.0.1:$1 -tls1_3 -ciphersuites TLS_AES_128_GCM_SHA256",
		 "the two ends have nothing in common", "alert handshake failure");
}

static void a_host_of_the_ca_that_is_not_ferry_is_refused(void **state)
{
	stranger("echo hello | openssl s_client -connect 127.0.0.1:$1 -CAfile ca.pem -cert hosta/cert.pem "
		 "-key hosta/key.pem -tls1_3 -quiet -no_ign_eof",
		 "the other end is not Ferry", "");
}

static void a_server_without_client_certificates_is_not_ferry(void **state)
{
	struct helper a;
	int tcp[2];

	tcp_pair(tcp);
	helper_start(&a, "connect", "hosta", tcp[0], "--host", "hostb", NULL);
	/* What does not answer as TLS does. */
	assert_true(send(tcp[1], "HTTP/1.1 400 Bad Request\r\n\r\n", 28, 0) > 0);
	helper_wait(&a);
	assert_says(&a, "does not speak TLS");
	close(tcp[1]);
	assert_int_equal(helper_end(&a), 1);
}

/* Lets this process play the client of a ferry-tls that gives it @timeout, without a word. */
static int play_client(struct helper *b, const char *timeout)
{
	int tcp[2];

	tcp_pair(tcp);
	helper_start(b, "accept", "hostb", tcp[1], "--timeout", timeout, NULL);
	return tcp[0];
}

static void garbage_is_refused(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
		const char *words;
	} cases[] = {
		{ "GET / HTTP/1.1\r\n\r\n", 18, "does not speak TLS" },
		{ "SSH-2.0-OpenSSH_9.2\r\n", 21, "does not speak TLS" },
		{ "\x16\x03\x01\xff\xff garbage", 13, "longer than a handshake's may be" },
		{ "\x16\x03\x01\x00\x08\x01\x00\x00\x04\x03\x03\x00\x00", 13, "not well formed" },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		struct helper b;
		int fd = play_client(&b, "10000");

		assert_int_equal(send(fd, cases[i].bytes, cases[i].len, 0), cases[i].len);
		helper_wait(&b);
		assert_says(&b, cases[i].words);
		close(fd);
		assert_int_equal(helper_end(&b), 1);
	}
}

static void a_connection_that_ends_in_the_handshake_is_refused(void **state)
{
	struct helper b;
	int fd = play_client(&b, "10000");

	/* A record that says that it has 256 bytes. */
	assert_int_equal(send(fd, "\x16\x03\x01\x01\x00\x01", 6, 0), 6);
	shutdown(fd, SHUT_WR);
	helper_wait(&b);
	assert_says(&b, "closed the connection");
	close(fd);
	assert_int_equal(helper_end(&b), 1);
}

static void a_slow_client_has_the_whole_handshakes_time_and_no_more(void **state)
{
	const uint64_t start = now_ns();
	struct helper b;
	int fd = play_client(&b, "400");
	struct pollfd result = { .fd = b.result_fd, .events = POLLIN };

	/* A record header that promises 16 KiB, and then a byte every 20 ms. */
	assert_int_equal(send(fd, "\x16\x03\x01\x40\x00", 5, 0), 5);
	while (poll(&result, 1, 20) == 0)
		(void)!send(fd, "\x01", 1, MSG_NOSIGNAL);
	helper_wait(&b);
	assert_says(&b, "within 400 ms");
	assert_true(ms_since(start) >= 400);
	close(fd);
	assert_int_equal(helper_end(&b), 1);
}

static void a_silent_client_is_refused_after_the_time(void **state)
{
	struct helper b;
	int fd = play_client(&b, "100");

	helper_wait(&b);
	assert_says(&b, "within 100 ms");
	close(fd);
	assert_int_equal(helper_end(&b), 1);
}

/* Lets a client come with a certificate of @n names. */
static void come_with_names(unsigned int n, const char *words)
{
	char make[512];

	snprintf(make, sizeof(make),
		 "mkdir -m 700 -p huge && names=DNS:a && i=1 && while [ $i -lt %u ]; do names=$names,DNS:a; "
		 "i=$((i + 1)); "
		 "done && openssl req -x509 -CA ca.pem -CAkey ca.key -newkey ec -pkeyopt "
		 "ec_paramgen_curve:P-256 -noenc "
		 "-subj /CN=a -addext basicConstraints=CA:FALSE -addext subjectAltName=$names -keyout "
		 "huge/key.pem "
		 "-out huge/cert.pem > out 2>&1",
		 n);
	assert_int_equal(system(make), 0);
	stranger("openssl s_client -ign_eof -connect 127.0.0.1:$1 -CAfile ca.pem -cert huge/cert.pem "
		 "-key huge/key.pem -tls1_3",
		 words, "");
}

static void a_handshake_that_wants_too_much_memory_is_refused(void **state)
{
	/* Three bytes for each name make a structure of mbedTLS's each. */
	come_with_names(5000, "wants more memory than a handshake may have");
	come_with_names(20000, "longer than a handshake's may be");
}

/* Starts a ferry-tls on @dir that nobody needs to speak with. */
static void refuse_dir(const char *dir, const char *words)
{
	struct helper b;
	int tcp[2];

	tcp_pair(tcp);
	helper_start(&b, "accept", dir, tcp[1], NULL);
	helper_wait(&b);
	assert_says(&b, words);
	close(tcp[0]);
	assert_int_equal(helper_end(&b), 1);
}

static void a_key_that_others_can_read_is_refused(void **state)
{
	refuse_dir("readable", "users other than its owner may access this key (mode 0640)");
}

static void a_folder_that_lacks_something_is_refused(void **state)
{
	refuse_dir("swapped", "swapped/key.pem is not the key of cert.pem");
	refuse_dir("nowhere", "nowhere/ca.pem: No such file");
	assert_int_equal(system("cp -r hosta folder && rm folder/cert.pem && mkdir folder/cert.pem && "
				"cp -r hosta large && head -c 70000 /dev/zero > large/cert.pem && "
				"cp -r hosta words && echo words > words/ca.pem && "
				"cp -r hosta fifo && rm fifo/key.pem && mkfifo -m 600 fifo/key.pem"),
			 0);
	refuse_dir("folder", "folder/cert.pem is not a file");
	refuse_dir("large", "large/cert.pem is larger than 65536 bytes");
	refuse_dir("words", "words/ca.pem has something else than certificates");
	refuse_dir("fifo", "fifo/key.pem is not a file");
}

/* Reads the line of /proc/PID/@file that begins with @key. */
static void read_line(pid_t pid, const char *file, const char *key, char line[256])
{
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
	f = fopen(path, "r");
	assert_non_null(f);
	do {
		assert_non_null(fgets(line, 256, f));
	} while (strncmp(line, key, strlen(key)) != 0);
	fclose(f);
}

static void it_has_no_rights_while_it_listens_to_a_stranger(void **state)
{
	struct helper b;
	int fd = play_client(&b, "60000");
	char line[256], hello[6] = "\x16\x03\x01\x01";

	/* It has read five bytes once they are gone from its socket, which it does after all else. */
	assert_int_equal(send(fd, hello, 5, 0), 5);
	for (char state_line[256] = ""; !strstr(state_line, "NoNewPrivs:\t1");)
		read_line(b.pid, "status", "NoNewPrivs:", state_line);
	read_line(b.pid, "status", "CapEff:", line);
	assert_string_equal(line, "CapEff:\t0000000000000000\n");
	read_line(b.pid, "status", "CapPrm:", line);
	assert_string_equal(line, "CapPrm:\t0000000000000000\n");
	/* The filter is the last that it gives itself. */
	do {
		read_line(b.pid, "status", "Seccomp:", line);
	} while (!strstr(line, "Seccomp:\t2"));
	read_line(b.pid, "limits", "Max open files", line);
	assert_non_null(strstr(line, " 2 "));
	read_line(b.pid, "limits", "Max processes", line);
	assert_non_null(strstr(line, " 0 "));
	close(fd);
	helper_wait(&b);
	assert_int_equal(helper_end(&b), 1);
}

/* Whoever got the better of ferry-tls writes what it likes. */
static void a_result_with_a_number_that_is_no_error_is_none(void **state)
{
	static const int numbers[] = { -1, 4096, INT32_MIN };
	const struct tls_result right = { .outcome = TLS_REFUSED, .reason.text = "why", .error = 4095 };
	struct tls_result heard;
	int pair[2], fd;

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(numbers); i++) {
		struct tls_result wrong = right;

		wrong.error = numbers[i];
		assert_int_equal(tls_result_send(pair[0], &wrong, -1), 0);
		tls_result_recv(pair[1], UINT64_MAX, &heard, &fd);
		assert_int_equal(heard.outcome, TLS_REFUSED);
		assert_int_equal(heard.error, 0);
		assert_non_null(strstr(heard.reason.text, "ferry-tls has not answered"));
	}
	assert_int_equal(tls_result_send(pair[0], &right, -1), 0);
	tls_result_recv(pair[1], UINT64_MAX, &heard, &fd);
	assert_int_equal(heard.error, 4095);
	assert_string_equal(heard.reason.text, "why");
	close(pair[0]);
	close(pair[1]);
}

static void a_command_line_with_a_mistake_is_refused(void **state)
{
	struct helper b;
	int tcp[2];

	tcp_pair(tcp);
	helper_start(&b, "accept", "hostb", tcp[1], "--timeout", "soon", NULL);
	helper_wait(&b);
	assert_says(&b, "ferry-tls has ended without an answer");
	assert_int_equal(helper_end(&b), 2);
	close(tcp[0]);
	tcp_pair(tcp);
	/* A client that does not say where it wanted to. */
	helper_start(&b, "connect", "hostb", tcp[1], NULL);
	helper_wait(&b);
	assert_int_equal(helper_end(&b), 2);
	close(tcp[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(two_hosts_of_the_manuals_ca_get_a_connection),
		cmocka_unit_test(names_are_dns_names_and_addresses_and_each_that_is_wanted_is_checked),
		cmocka_unit_test(a_wrong_name_is_refused_at_both_ends),
		cmocka_unit_test(a_common_name_is_no_name),
		cmocka_unit_test(a_certificate_of_another_ca_is_refused_at_both_ends),
		cmocka_unit_test(a_certificate_that_has_expired_is_refused_at_both_ends),
		cmocka_unit_test(a_certificate_that_is_not_valid_yet_is_refused_at_both_ends),
		cmocka_unit_test(a_client_without_a_certificate_is_refused_at_both_ends),
		cmocka_unit_test(an_older_tls_and_another_cipher_are_refused),
		cmocka_unit_test(a_host_of_the_ca_that_is_not_ferry_is_refused),
		cmocka_unit_test(a_server_without_client_certificates_is_not_ferry),
		cmocka_unit_test(garbage_is_refused),
		cmocka_unit_test(a_connection_that_ends_in_the_handshake_is_refused),
		cmocka_unit_test(a_slow_client_has_the_whole_handshakes_time_and_no_more),
		cmocka_unit_test(a_silent_client_is_refused_after_the_time),
		cmocka_unit_test(a_handshake_that_wants_too_much_memory_is_refused),
		cmocka_unit_test(a_key_that_others_can_read_is_refused),
		cmocka_unit_test(a_folder_that_lacks_something_is_refused),
		cmocka_unit_test(what_others_have_on_its_way_is_waited_for),
		cmocka_unit_test(it_has_no_rights_while_it_listens_to_a_stranger),
		cmocka_unit_test(a_result_with_a_number_that_is_no_error_is_none),
		cmocka_unit_test(a_command_line_with_a_mistake_is_refused),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, tls_setup, tls_teardown);
}
