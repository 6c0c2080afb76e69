/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A PC's real-time clock: see the header. Registers are those of the MC146818's data sheet. */
#include "vmm/x86/rtc.h"

#include <errno.h>
#include <time.h>

#include "vmm/config_device.h"
#include "vmm/x86/layout.h"

enum rtc_register {
	RTC_SECONDS = 0,
	RTC_SECONDS_ALARM = 1,
	RTC_MINUTES = 2,
	RTC_MINUTES_ALARM = 3,
	RTC_HOURS = 4,
	RTC_HOURS_ALARM = 5,
	RTC_WEEKDAY = 6,
	RTC_DAY = 7,
	RTC_MONTH = 8,
	RTC_YEAR = 9,
	RTC_A = 10,
	RTC_B = 11,
	RTC_C = 12,
	RTC_D = 13,
};

#define RTC_INDEX_MASK 0x7fu /* bit 7 of the index port masks NMIs on a PC */
#define RTC_A_UIP      0x80u
#define RTC_A_POWER_ON 0x26u /* 32768 Hz, and a divider that is on */
#define RTC_B_24H      0x02u
#define RTC_B_BINARY   0x04u
#define RTC_B_SET      0x80u
#define RTC_D_VALID    0x80u
#define RTC_HOUR_PM    0x80u

/* UIP is set for so long before the time changes: a guest that reads it clear has that time for the rest. */
#define RTC_UPDATE_NS 244000

/* Returns a number as the guest wants numbers: BCD unless register B says otherwise. */
static uint8_t rtc_number(const struct rtc *rtc, int n)
{
	unsigned int v = (unsigned int)n;

	return (uint8_t)(rtc->b & RTC_B_BINARY ? v : v / 10 << 4 | v % 10);
}

static uint8_t rtc_hour(const struct rtc *rtc, int hour)
{
	if (rtc->b & RTC_B_24H)
		return rtc_number(rtc, hour);
	return (uint8_t)(rtc_number(rtc, hour % 12 ? hour % 12 : 12) | (hour >= 12 ? RTC_HOUR_PM : 0));
}

static uint8_t rtc_read_register(const struct rtc *rtc)
{
	struct timespec now;
	struct tm tm;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	switch (rtc->index) {
	case RTC_SECONDS:
		/* A leap second is a second twice in the host's clock, too. */
		return rtc_number(rtc, tm.tm_sec);
	case RTC_MINUTES:
		return rtc_number(rtc, tm.tm_min);
	case RTC_HOURS:
		return rtc_hour(rtc, tm.tm_hour);
	case RTC_WEEKDAY:
		return rtc_number(rtc, tm.tm_wday + 1);
	case RTC_DAY:
		return rtc_number(rtc, tm.tm_mday);
	case RTC_MONTH:
		return rtc_number(rtc, tm.tm_mon + 1);
	case RTC_YEAR:
		return rtc_number(rtc, tm.tm_year % 100);
	case LAYOUT_RTC_CENTURY:
		return rtc_number(rtc, (tm.tm_year + 1900) / 100);
	case RTC_SECONDS_ALARM:
	case RTC_MINUTES_ALARM:
	case RTC_HOURS_ALARM:
		return rtc->alarm[rtc->index / 2];
	case RTC_A:
		return now.tv_nsec >= 1000000000 - RTC_UPDATE_NS && !(rtc->b & RTC_B_SET)
			       ? (uint8_t)(rtc->a | RTC_A_UIP)
			       : rtc->a;
	case RTC_B:
		return rtc->b;
	case RTC_D:
		return RTC_D_VALID;
	default:
		/* No interrupt has come (C), and there is no memory behind the clock. */
		return 0;
	}
}

/* Time is the host's: a guest that sets it, as Linux does where it is told the time by NTP, changes nothing.
 */
static void rtc_write_register(struct rtc *rtc, uint8_t value)
{
	switch (rtc->index) {
	case RTC_SECONDS_ALARM:
	case RTC_MINUTES_ALARM:
	case RTC_HOURS_ALARM:
		rtc->alarm[rtc->index / 2] = value;
		break;
	case RTC_A:
		rtc->a = (uint8_t)(value & ~RTC_A_UIP);
		break;
	case RTC_B:
		rtc->b = value;
		break;
	default:
		break;
	}
}

/* Two ports: the index, which cannot be read, and the data. */
static void rtc_read(void *opaque, uint64_t offset, void *data, unsigned int len)
{
	struct rtc *rtc = opaque;
	uint8_t *bytes = data;

	memset(bytes, 0xff, len);
	pthread_mutex_lock(&rtc->lock);
	if (offset + len > 1)
		bytes[1 - offset] = rtc_read_register(rtc);
	pthread_mutex_unlock(&rtc->lock);
}

static void rtc_write(void *opaque, uint64_t offset, const void *data, unsigned int len)
{
	struct rtc *rtc = opaque;
	const uint8_t *bytes = data;

	pthread_mutex_lock(&rtc->lock);
	if (offset == 0)
		rtc->index = bytes[0] & RTC_INDEX_MASK;
	if (offset + len > 1)
		rtc_write_register(rtc, bytes[1 - offset]);
	pthread_mutex_unlock(&rtc->lock);
}

static const struct bus_ops rtc_bus_ops = { .read = rtc_read, .write = rtc_write };

static void rtc_save(struct device *device, struct state_writer *w)
{
	const struct rtc *rtc = container_of(device, struct rtc, device);

	state_put_u32(w, "index", rtc->index);
	state_put_u32(w, "register-a", rtc->a);
	state_put_u32(w, "register-b", rtc->b);
	state_put_blob(w, "alarm", rtc->alarm, sizeof(rtc->alarm));
}

static int rtc_load(struct device *device, struct state_node *node)
{
	struct rtc *rtc = container_of(device, struct rtc, device);
	uint8_t alarm[RTC_N_ALARM];
	uint32_t index, a, b;

	if (state_get_u32(node, "index", 0, RTC_INDEX_MASK, &index) < 0 ||
	    state_get_u32(node, "register-a", 0, UINT8_MAX & ~RTC_A_UIP, &a) < 0 ||
	    state_get_u32(node, "register-b", 0, UINT8_MAX, &b) < 0 ||
	    state_get_bytes(node, "alarm", alarm, sizeof(alarm)) < 0 || state_finish(node) < 0)
		return -EINVAL;
	pthread_mutex_lock(&rtc->lock);
	rtc->index = (uint8_t)index;
	rtc->a = (uint8_t)a;
	rtc->b = (uint8_t)b;
	memcpy(rtc->alarm, alarm, sizeof(rtc->alarm));
	pthread_mutex_unlock(&rtc->lock);
	return 0;
}

static int rtc_reset(struct device *device, uint64_t until_ns)
{
	struct rtc *rtc = container_of(device, struct rtc, device);

	pthread_mutex_lock(&rtc->lock);
	rtc->index = 0;
	rtc->a = RTC_A_POWER_ON;
	rtc->b = RTC_B_24H;
	memset(rtc->alarm, 0, sizeof(rtc->alarm));
	pthread_mutex_unlock(&rtc->lock);
	return 0;
}

static const struct device_ops rtc_device_ops = {
	.save = rtc_save,
	.load = rtc_load,
	.reset = rtc_reset,
};

int rtc_init(struct rtc *rtc, struct bus *pio, struct error *err)
{
	int ret = bus_add(pio, LAYOUT_RTC_PORT, 2, &rtc_bus_ops, rtc);

	if (ret < 0) {
		error_add(err, "cannot place the real-time clock: %s", strerror(-ret));
		return ret;
	}
	*rtc = (struct rtc){ .device = { .ops = &rtc_device_ops,
					 .name = config_device_name(CONFIG_DEVICE_RTC) } };
	pthread_mutex_init(&rtc->lock, NULL);
	return rtc_reset(&rtc->device, 0);
}

void rtc_exit(struct rtc *rtc)
{
	pthread_mutex_destroy(&rtc->lock);
}
