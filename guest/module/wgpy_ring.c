// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Rings between virtual machines as UIO devices: QEMU's ivshmem, and the connections of
 * seL4's CAmkES VMs. Both look alike from user space:
 *
 *	map 0	one page of registers, uncached; a 32-bit store there rings the neighbour
 *	map 1	the shared memory, cached where the machine allows it
 *	read	4 bytes: how often the neighbour rang; poll waits for that
 *
 * The kernel takes nothing from the shared memory, and from the registers only whether a
 * counter is zero and a name, whose characters it checks. What a neighbour can do to it is
 * to ring.
 *
 * Licence: the project's is MIT; UIO's functions are for modules under the GPL. So both.
 */
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/ioport.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uio_driver.h>

#define VENDOR_QUMRANET 0x1af4
#define DEVICE_IVSHMEM 0x1110
#define DEVICE_CONNECTOR 0xa111

#define REGISTERS_BAR 0

/* The connector's registers; the VMM backs one page of the BAR, whatever its size. */
#define CONNECTOR_EVENTS 0x4
#define CONNECTOR_NAME 0x8
#define CONNECTOR_NAME_LENGTH 48

enum kind { IVSHMEM, CONNECTOR };

static const int data_bars[] = { [IVSHMEM] = 2, [CONNECTOR] = 1 };

struct wgpy_ring {
	struct uio_info uio;
	struct resource page_rest;
	void __iomem *registers;	/* the connector's, else NULL */
	int bars;			/* a mask of those that are ours */
	char name[CONNECTOR_NAME_LENGTH + 1];
};

static irqreturn_t ivshmem_event(int irq, struct uio_info *uio)
{
	return IRQ_HANDLED;	/* an MSI-X vector of our own */
}

/*
 * The line is shared with other connections and the console. Events between the load and
 * the store are not lost: the waiter is woken after both, and looks at the memory.
 */
static irqreturn_t connector_event(int irq, struct uio_info *uio)
{
	struct wgpy_ring *ring = container_of(uio, struct wgpy_ring, uio);

	if (!readl(ring->registers + CONNECTOR_EVENTS))
		return IRQ_NONE;
	writel(0, ring->registers + CONNECTOR_EVENTS);
	return IRQ_HANDLED;
}

static int no_page(struct pci_dev *pdev, int bar)
{
	dev_err(&pdev->dev, "BAR %d has no page of its own: boot with pci=resource_alignment=%d@pci:%04x:%04x\n",
		bar, PAGE_SHIFT, pdev->vendor, pdev->device);
	return -ENXIO;
}

static int check_bar(struct pci_dev *pdev, int bar, resource_size_t least)
{
	resource_size_t size = pci_resource_len(pdev, bar);

	if (!(pci_resource_flags(pdev, bar) & IORESOURCE_MEM) || size < least) {
		dev_err(&pdev->dev, "BAR %d is not memory of at least %pa bytes\n", bar, &least);
		return -ENODEV;
	}
	if (!PAGE_ALIGNED(pci_resource_start(pdev, bar)))
		return no_page(pdev, bar);
	return 0;
}

/*
 * User space gets the whole page in which the registers are, so no other device's may lie
 * or come to lie there.
 */
static int claim_page(struct pci_dev *pdev, struct wgpy_ring *ring)
{
	struct resource *bar = &pdev->resource[REGISTERS_BAR];
	struct resource *rest = &ring->page_rest;

	if (resource_size(bar) >= PAGE_SIZE)
		return 0;
	rest->name = KBUILD_MODNAME;
	rest->start = bar->end + 1;
	rest->end = bar->start + PAGE_SIZE - 1;
	rest->flags = bar->flags;
	if (!bar->parent || request_resource(bar->parent, rest)) {
		rest->flags = 0;
		return no_page(pdev, REGISTERS_BAR);
	}
	return 0;
}

static int claim(struct pci_dev *pdev, struct wgpy_ring *ring, enum kind kind)
{
	int data = data_bars[kind], err;

	err = check_bar(pdev, REGISTERS_BAR, kind == CONNECTOR ? PAGE_SIZE : 16);
	if (!err)
		err = check_bar(pdev, data, PAGE_SIZE);
	if (!err)
		err = pci_request_selected_regions(pdev, BIT(REGISTERS_BAR) | BIT(data), KBUILD_MODNAME);
	if (err)
		return err;
	ring->bars = BIT(REGISTERS_BAR) | BIT(data);
	return claim_page(pdev, ring);
}

static void maps(struct pci_dev *pdev, struct wgpy_ring *ring, enum kind kind)
{
	struct uio_mem *registers = &ring->uio.mem[0], *data = &ring->uio.mem[1];

	registers->name = "registers";
	registers->addr = pci_resource_start(pdev, REGISTERS_BAR);
	registers->size = PAGE_SIZE;
	registers->memtype = UIO_MEM_PHYS;
	data->name = "data";
	data->addr = pci_resource_start(pdev, data_bars[kind]);
	data->size = pci_resource_len(pdev, data_bars[kind]);
	data->memtype = UIO_MEM_IOVA;	/* of the types for a BAR the one that is mapped cached */
}

/* Without an interrupt the device is of use, too: the memory is polled. */
static void ivshmem_interrupt(struct pci_dev *pdev, struct wgpy_ring *ring)
{
	ring->uio.irq = UIO_IRQ_NONE;
	ring->uio.name = "ivshmem-plain";
	if (!pdev->msix_cap)
		return;
	ring->uio.name = "ivshmem-doorbell";
	pci_set_master(pdev);	/* an MSI-X interrupt is a write by the device */
	if (pci_alloc_irq_vectors(pdev, 1, 1, PCI_IRQ_MSIX) < 0) {
		dev_warn(&pdev->dev, "no MSI-X vector: the memory must be polled\n");
		return;
	}
	ring->uio.irq = pci_irq_vector(pdev, 0);
	ring->uio.handler = ivshmem_event;
}

static int connector_interrupt(struct pci_dev *pdev, struct wgpy_ring *ring)
{
	char *c;

	ring->registers = ioremap(pci_resource_start(pdev, REGISTERS_BAR), PAGE_SIZE);
	if (!ring->registers)
		return -ENOMEM;
	memcpy_fromio(ring->name, ring->registers + CONNECTOR_NAME, CONNECTOR_NAME_LENGTH);
	for (c = ring->name; *c; c++)
		if (*c <= ' ' || *c > '~')
			*c = '?';
	ring->uio.name = *ring->name ? ring->name : "connector";
	ring->uio.irq = pdev->irq ? pdev->irq : UIO_IRQ_NONE;
	ring->uio.irq_flags = IRQF_SHARED;
	ring->uio.handler = connector_event;
	return 0;
}

/* Undoes what was done, all or some of it. */
static void give_back(struct pci_dev *pdev, struct wgpy_ring *ring)
{
	pci_free_irq_vectors(pdev);
	pci_clear_master(pdev);
	if (ring->registers)
		iounmap(ring->registers);
	if (ring->page_rest.flags)
		release_resource(&ring->page_rest);
	if (ring->bars)
		pci_release_selected_regions(pdev, ring->bars);
	pci_disable_device(pdev);
	kfree(ring);
}

static int wgpy_ring_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	enum kind kind = id->driver_data;
	struct wgpy_ring *ring;
	int err;

	ring = kzalloc(sizeof(*ring), GFP_KERNEL);
	if (!ring)
		return -ENOMEM;
	err = pci_enable_device_mem(pdev);
	if (err) {
		kfree(ring);
		return err;
	}
	err = claim(pdev, ring, kind);
	if (err)
		goto fail;
	ring->uio.version = "1";
	maps(pdev, ring, kind);
	if (kind == IVSHMEM)
		ivshmem_interrupt(pdev, ring);
	else
		err = connector_interrupt(pdev, ring);
	if (err)
		goto fail;
	pci_set_drvdata(pdev, ring);
	err = uio_register_device(&pdev->dev, &ring->uio);
	if (err)
		goto fail;
	return 0;
fail:
	give_back(pdev, ring);
	return err;
}

static void wgpy_ring_remove(struct pci_dev *pdev)
{
	struct wgpy_ring *ring = pci_get_drvdata(pdev);

	uio_unregister_device(&ring->uio);
	give_back(pdev, ring);
}

static const struct pci_device_id wgpy_ring_ids[] = {
	{ PCI_DEVICE(VENDOR_QUMRANET, DEVICE_IVSHMEM), .driver_data = IVSHMEM },
	{ PCI_DEVICE(VENDOR_QUMRANET, DEVICE_CONNECTOR), .driver_data = CONNECTOR },
	{ }
};
MODULE_DEVICE_TABLE(pci, wgpy_ring_ids);

static struct pci_driver wgpy_ring_driver = {
	.name = KBUILD_MODNAME,
	.id_table = wgpy_ring_ids,
	.probe = wgpy_ring_probe,
	.remove = wgpy_ring_remove,
};
module_pci_driver(wgpy_ring_driver);

MODULE_DESCRIPTION("Rings between virtual machines (ivshmem, seL4 connections) for wgpy");
MODULE_AUTHOR("the wgpy authors");
MODULE_LICENSE("Dual MIT/GPL");
