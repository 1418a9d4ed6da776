"""Objects with an identity, and pages of them."""

import strawberry


@strawberry.interface(description="An object with an id that `node` finds again.")
class Node:
    id: strawberry.ID = strawberry.field(description="An opaque, unique and permanent id.")


@strawberry.type(description="Where a page of a connection begins and ends.")
class PageInfo:
    has_next_page: bool = strawberry.field(description="Whether more follow after `endCursor`.")
    has_previous_page: bool = strawberry.field(description="Whether this page was asked for with `after`.")
    start_cursor: str | None = strawberry.field(description="The cursor of the first edge; null for an empty page.")
    end_cursor: str | None = strawberry.field(
        description="The cursor of the last edge: pass it as `after` for the next page."
    )
