/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The real-time clock, of a board that has one: an MC146818 without an interrupt. */
DefinitionBlock ("", "SSDT", 2, "FERRY", "FERRYRTC", 1)
{
	Scope (\_SB)
	{
		Device (RTC0)
		{
			Name (_HID, EisaId ("PNP0B00"))
			Name (_STA, 0x0f)
			Name (_CRS, ResourceTemplate ()
			{
				IO (Decode16, 0x0070, 0x0070, 0x01, 0x02)
			})
		}
	}
}
