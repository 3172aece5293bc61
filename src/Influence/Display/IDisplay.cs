namespace Influence.Display;

/// <summary>Something that is shown as a table.</summary>
internal interface IDisplay : IHtml
{
    Table ToTable();
}
