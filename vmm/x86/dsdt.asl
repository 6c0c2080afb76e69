/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a guest's ACPI finds on the board. The numbers are those of layout.h; acpi.c asserts that they have not
 * moved.
 */
DefinitionBlock ("", "DSDT", 2, "FERRY", "FERRY", 1)
{
	/* Written into the sleep control register to power off. */
	Name (\_S5, Package () { 5, 0, 0, 0 })

	Scope (\_SB)
	{
		/* One bus with nothing but MSI-X behind it: no _PRT. */
		Device (PCI0)
		{
			Name (_HID, EisaId ("PNP0A03"))
			Name (_UID, Zero)
			Name (_BBN, Zero)
			Name (_CRS, ResourceTemplate ()
			{
				WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode,
					0x0000, 0x0000, 0x0000, 0x0000, 0x0001)
				IO (Decode16, 0x0cf8, 0x0cf8, 0x01, 0x08)
				WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange,
					0x0000, 0x1000, 0xffff, 0x0000, 0xf000)
				DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable, ReadWrite,
					0x00000000, 0xc0000000, 0xfebfffff, 0x00000000, 0x3ec00000)
			})
		}

		Device (COM1)
		{
			Name (_HID, EisaId ("PNP0501"))
			Name (_UID, One)
			Name (_DDN, "COM1")
			Name (_STA, 0x0f)
			Name (_CRS, ResourceTemplate ()
			{
				IO (Decode16, 0x03f8, 0x03f8, 0x01, 0x08)
				Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive) { 4 }
			})
		}

		/* pvpanic, as Linux' driver of that name looks for it. */
		Device (PEVT)
		{
			Name (_HID, "QEMU0001")
			Name (_STA, 0x0f)
			Name (_CRS, ResourceTemplate ()
			{
				IO (Decode16, 0x0505, 0x0505, 0x01, 0x01)
			})
		}

		/* The power button: hardware-reduced ACPI has no fixed one. */
		Device (PWRB)
		{
			Name (_HID, EisaId ("PNP0C0C"))
			Name (_UID, Zero)
			Name (_STA, 0x0f)
		}

		/* A generic event device (ACPI 6.4, 5.6.9): what its interrupts mean. */
		Device (EVT0)
		{
			Name (_HID, "ACPI0013")
			Name (_UID, Zero)
			Name (_STA, 0x0f)
			Name (_CRS, ResourceTemplate ()
			{
				Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive) { 5 }
			})
			Method (_EVT, 1, Serialized)
			{
				If (LEqual (Arg0, 5))
				{
					Notify (\_SB.PWRB, 0x80)
				}
			}
		}

		/* The ports of sleep control, sleep status and reset are taken. */
		Device (BRD0)
		{
			Name (_HID, EisaId ("PNP0C02"))
			Name (_UID, Zero)
			Name (_CRS, ResourceTemplate ()
			{
				IO (Decode16, 0x0600, 0x0600, 0x01, 0x03)
			})
		}
	}
}
