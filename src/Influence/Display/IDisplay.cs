namespace Influence.Display;

/// <summary>Something that a notebook shows as a table.</summary>
internal interface IDisplay
{
    Table ToTable();
}
