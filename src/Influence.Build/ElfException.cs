namespace Influence.Build;

/// <summary>Says that a file is not an ELF file of the kind that is read here, or is damaged; the message says which.</summary>
internal sealed class ElfException(string message) : Exception(message);
